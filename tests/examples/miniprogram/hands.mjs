// What a person does with a phone, and sees on it, by name: for the programs that drive one.

import * as screen from "./screen.mjs"

/** Does what `wish.do` says, waits until the phone is at rest, and answers what is to be seen. */
export async function act(phone, wish) {
  const work = ACTS[wish.do]
  if (!work) throw new Error(`nobody can ${wish.do}`)
  await work(phone, wish)
  await phone.rest()
  return seen(phone)
}

const ACTS = {
  launch: (phone, { url, from, ticket, tool }) => phone.launch(url, { from, shareTicket: ticket, tool }),
  tap: (phone, { text, on }) => {
    const element = on ? one(phone, on) : reading(phone, text)
    if (element.data?.disabled) throw new Error(`"${text ?? on}" is disabled`)
    screen.trigger(phone.kit, element, "tap")
    if (element.data?.formType === "submitToGroup") submit(phone, element)
  },
  type: (phone, { on, value }) => screen.type(phone.kit, one(phone, on), value),
  pick: (phone, { picks, faults }) => {
    Object.assign(phone.picks, picks)
    Object.assign(phone.faults, faults)
  },
  wx: (phone, { method, options }) => phone.wx[method](options).then(
    (told) => void (phone.told = told),
    (error) => void (phone.told = error),
  ),
  back: (phone) => phone.wx.navigateBack({}),
  look: () => undefined,
}

/** The page on top: what it reads, what was shown over it, what went wrong. */
export function seen(phone) {
  const { page } = phone
  return {
    path: page?.path ?? null,
    text: page ? screen.text(phone.kit, page.component) : "",
    buttons: page ? buttons(phone).map((each) => ({ text: screen.text(phone.kit, each), disabled: each.data.disabled })) : [],
    data: page ? page.instance.data : {},
    shown: phone.shown,
    calls: phone.calls,
    crashes: phone.crashes,
    told: phone.told ?? null,
    category: phone.wx.getApiCategory(),
  }
}

// A form's text goes to the chat by WeChat itself, which then tells the page.
function submit(phone, button) {
  let form = button
  while (form && form.is !== "form") form = form.parentNode
  const text = Object.values(screen.fields(phone.kit, form)).join("")
  if (!text || !phone.tool) return
  // In the open mode the button names one of the groups that were selected.
  const room = phone.tool.open ? phone.tool.selected.find((each) => each === button.data.opengid) : phone.tool.rooms[0]
  if (!room) return
  phone.chats.say(room, "text", { text })
  screen.trigger(phone.kit, form, "submitToGroup", {})
}

const buttons = (phone) => screen.elements(phone.kit, phone.page.component).filter((each) => each.is === "button")

function one(phone, selector) {
  const found = phone.page.component.getShadowRoot().querySelector(selector)
  if (!found) throw new Error(`${phone.page.path} has no ${selector}`)
  return found
}

// The button that reads so, or else the innermost element that does.
function reading(phone, text) {
  const reads = (each) => screen.text(phone.kit, each).includes(text)
  const found = buttons(phone).find(reads) ?? screen.elements(phone.kit, phone.page.component).filter(reads).at(-1)
  if (!found) throw new Error(`${phone.page.path} has nothing that reads "${text}": ${screen.text(phone.kit, phone.page.component)}`)
  return found
}
