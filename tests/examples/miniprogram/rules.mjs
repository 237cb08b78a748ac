// What the platform says of a call's arguments before it does anything (docs: wechat-api.md §1, §7, §9).

export class Fail extends Error {}

const named = (value) => Object.prototype.toString.call(value).slice(8, -1)

/** As the base library checks a parameter's type. */
export function must(options, field, type) {
  const found = named(options[field])
  if (found !== type) throw new Fail(`parameter error: parameter.${field} should be ${type} instead of ${found};`)
  if (type === "String" && !options[field]) throw new Fail(`parameter error: parameter.${field} should not be empty;`)
  return options[field]
}

export function may(options, field, type) {
  return options[field] === undefined ? undefined : must(options, field, type)
}

function oneOf(options, field, values) {
  if (!values.includes(options[field])) throw new Fail(`parameter error: invalid ${field}`)
}

const TEMPLATES = {
  "4A68CBB88A92B0A9311848DBA1E94A199B166463": "complete",
  "2A84254B945674A2F88CE4970782C402795EB607": "participate",
}

/** wx.updateShareMenu for a card that the chat keeps. Answers its template. */
export function shareMenu(options, members) {
  for (const field of ["withShareTicket", "isUpdatableMessage", "useForChatTool"]) {
    if (must(options, field, "Boolean") !== true) throw new Fail(`parameter error: ${field} must be true for a chat tool's card`)
  }
  must(options, "activityId", "String")
  oneOf(options, "chooseType", [1, 2])
  const participant = options.chooseType === 1 ? must(options, "participant", "Array") : (may(options, "participant", "Array") ?? [])
  if (options.chooseType === 1 && !participant.length) throw new Fail("parameter error: participant is empty")
  inRoom(participant, members, "participant")
  must(options, "templateInfo", "Object")
  oneOf(options.templateInfo, "templateId", Object.keys(TEMPLATES))
  return TEMPLATES[options.templateInfo.templateId]
}

/** A title's width: a Chinese character counts 2. */
const width = (text) => [...text].reduce((sum, each) => sum + (each.codePointAt(0) > 0xff ? 2 : 1), 0)

export function reminder(options, members) {
  if (width(must(options, "title", "String")) > 30) throw new Fail("parameter error: title is too long")
  const named = must(options, "members", "Array")
  if (!named.length) throw new Fail("parameter error: members is empty")
  inRoom(named, members, "members")
  must(options, "entrancePath", "String")
  if (options.type !== undefined) oneOf(options, "type", ["participate", "complete"])
}

export function card(options) {
  must(options, "title", "String")
  if (may(options, "path", "String")?.startsWith("/") === false) throw new Fail("parameter error: path must start with /")
  if (options.imageUrl !== undefined) local(options, "imageUrl", /\.(png|jpe?g)$/i)
}

/** wx.shareImageToGroup and its likes. */
export function file(options, field) {
  local(options, field)
  may(options, "entrancePath", "String")
  may(options, "needShowEntrance", "Boolean")
  if (options.thumbPath !== undefined) local(options, "thumbPath")
}

function local(options, field, kind = /./) {
  const path = must(options, field, "String")
  if (/^https?:\/\/(?!(tmp|usr|store)\/)/.test(path)) throw new Fail(`${field} must be a local path`)
  if (!kind.test(path)) throw new Fail(`${field} is of a kind that cannot be sent`)
}

function inRoom(named, members, field) {
  const stranger = named.find((each) => !members.includes(each))
  if (stranger !== undefined) throw new Fail(`parameter error: invalid group_openid in ${field}`)
}
