// A stub of `wx`: the calls that a chat tool's pages make, as they answer on a telephone.
//
// A call answers through success, fail and complete, or, given none of them, as a promise. What is refused says
// `NAME:fail REASON`. In a chat tool some calls are forbidden; outside it the chat's are.

import * as rules from "./rules.mjs"
import { Fail } from "./rules.mjs"

const FORBIDDEN = [
  "navigateToMiniProgram", "openEmbeddedMiniProgram", "openOfficialAccountArticle", "openOfficialAccountProfile",
  "openChannelsUserProfile", "openChannelsActivity", "openChannelsEvent", "openChannelsLive",
]
const FILES = {
  shareImageToGroup: ["image", "imagePath"],
  shareEmojiToGroup: ["emoji", "imagePath"],
  shareVideoToGroup: ["video", "videoPath"],
  shareFileToGroup: ["file", "filePath"],
}

/** `wx` on this phone. */
export function makeWx(phone) {
  const wx = { env: { USER_DATA_PATH: "http://usr" }, ...synchronous(phone) }
  const calls = {
    ...identity(phone), ...tool(phone), ...sends(phone), ...open(phone), ...moves(phone), ...dialogs(phone), ...picks(),
  }
  for (const [call, work] of Object.entries(calls)) wx[call] = platform(phone, call, work)
  for (const call of FORBIDDEN) wx[call] = platform(phone, call, () => forbidden(phone))
  return wx
}

// Wraps one call as the platform has it.
function platform(phone, call, work) {
  return (options = {}) => {
    const told = (async () => {
      phone.calls.push(call)
      const fault = phone.faults[call]
      if (fault) throw new Fail(fault)
      return await work(options)
    })().then(
      (result) => ({ errMsg: `${call}:ok`, ...result }),
      (error) => {
        if (!(error instanceof Fail)) phone.crashed(error)
        throw { errMsg: `${call}:fail ${error.message}`, ...error.more }
      },
    )
    phone.busy(told)
    const { success, fail, complete } = options
    if (!success && !fail && !complete) return told
    told.then(
      (result) => phone.run(() => { success?.(result); complete?.(result) }),
      (error) => phone.run(() => { fail?.(error); complete?.(error) }),
    )
    return undefined
  }
}

function forbidden(phone) {
  if (phone.tool) throw new Fail("api is not allowed when apiCategory is chatTool")
}

function inTool(phone) {
  if (!phone.tool) throw new Fail("can only be invoked in chat tool mode")
}

// The chat that a call is about: in the open mode the one that it names, of those chosen.
function target(phone, options) {
  inTool(phone)
  if (!phone.tool.open) return phone.tool.rooms[0]
  rules.must(options, "opengid", "String")
  if (!phone.tool.selected.includes(options.opengid)) throw new Fail("opengid is not selected, call wx.selectGroups first")
  return options.opengid
}

const members = async (phone, room) => Object.values(await phone.chats.members(room))

function identity(phone) {
  return {
    login: async () => ({ code: await phone.chats.code(phone.openid) }),
    checkSession: () => ({}),
    getChatToolInfo: async () => {
      inTool(phone)
      return await phone.chats.sealed("getChatToolInfo", phone.openid, phone.tool.current ?? phone.tool.rooms[0])
    },
    getGroupEnterInfo: async () => {
      if (!phone.from) throw new Fail("40097 invalid scene")
      return await phone.chats.sealed("getGroupEnterInfo", phone.openid, phone.from)
    },
    getShareInfo: async (options) => {
      if (rules.must(options, "shareTicket", "String") !== phone.shareTicket) throw new Fail("invalid shareTicket")
      return await phone.chats.sealed("getShareInfo", phone.openid, phone.from)
    },
    request: async (options) => await request(phone, options),
  }
}

async function request(phone, options) {
  const url = rules.must(options, "url", "String")
  const method = (options.method ?? "GET").toUpperCase()
  const header = { "content-type": "application/json", ...options.header }
  let answer
  try {
    const body = method === "GET" ? undefined : JSON.stringify(options.data ?? {})
    answer = await phone.fetch(url, { method, headers: header, body })
  } catch {
    throw new Fail("errcode:-102 cronet_error_code:-102 error_msg:net::ERR_CONNECTION_REFUSED")
  }
  const text = await answer.text()
  let data = text
  try {
    data = JSON.parse(text)
  } catch {
    // The platform hands over the text, where it is no JSON.
  }
  return { statusCode: answer.status, header: Object.fromEntries(answer.headers), data, cookies: [] }
}

function tool(phone) {
  return {
    openChatTool: async (options) => {
      const url = rules.must(options, "url", "String")
      if (phone.tool) throw new Fail("already in chat tool mode")
      const room = options.roomid ?? phone.picks.room
      if (!room) throw new Fail("cancel")
      if (options.roomid && room.startsWith("s-") && ![1, 2].includes(options.chatType)) throw new Fail("chatType does not match roomid")
      await phone.chats.members(room)
      await phone.openTool({ rooms: [room], open: false, selected: [] }, url)
    },
    selectGroupMembers: async (options) => {
      const room = target(phone, options)
      const all = await phone.chats.members(room)
      if (room.startsWith("s-")) {
        const both = Object.values(all)
        return { members: phone.picks.onlyOther ? both.filter((each) => each !== all[phone.openid]) : both }
      }
      const chosen = phone.picks.members
      if (!chosen) throw new Fail("cancel")
      if (options.maxSelectCount !== undefined && chosen.length > options.maxSelectCount) throw new Fail("exceed maxSelectCount")
      return { members: chosen }
    },
  }
}

function sends(phone) {
  const files = Object.entries(FILES).map(([call, [kind, field]]) => [
    call,
    (options) => {
      const room = target(phone, options)
      rules.file(options, field)
      phone.chats.say(room, kind, { path: options[field], entrance: options.entrancePath })
      return {}
    },
  ])
  return {
    ...Object.fromEntries(files),
    updateShareMenu: async (options) => {
      if (options.useForChatTool) {
        inTool(phone)
        const all = await Promise.all(phone.tool.rooms.map((room) => members(phone, room)))
        phone.menu = { ...options, template: rules.shareMenu(options, all.flat()) }
      }
      return {}
    },
    shareAppMessageToGroup: async (options) => {
      const room = target(phone, options)
      rules.card(options)
      const menu = phone.menu
      if (menu) await phone.chats.share(menu, menu.template, options.title, room, phone.openid)
      phone.menu = null
      phone.chats.say(room, "card", { title: options.title, path: options.path, activity: menu?.activityId })
      return {}
    },
    notifyGroupMembers: async (options) => {
      const room = target(phone, options)
      rules.reminder(options, await members(phone, room))
      phone.chats.say(room, "reminder", { title: options.title, members: options.members, path: options.entrancePath })
      return {}
    },
  }
}

function open(phone) {
  return {
    enterChatToolMode: async (options) => {
      if (phone.tool) throw new Fail("already in chat tool mode")
      const rooms = rules.may(options, "chatToolRooms", "Array") ?? phone.picks.rooms
      if (!rooms?.length) throw new Fail("cancel")
      if (options.singleChatRoom && rooms.length > 1) throw new Fail("parameter error: more than one room")
      if (options.selectLimit && rooms.length > options.selectLimit) throw new Fail("parameter error: exceed selectLimit")
      phone.tool = { rooms, open: true, selected: [] }
      return {}
    },
    selectGroups: () => {
      inTool(phone)
      const chosen = phone.picks.groups ?? phone.tool.rooms
      const stranger = chosen.find((each) => !phone.tool.rooms.includes(each))
      if (stranger) throw new Fail("the group is not bound")
      phone.tool.selected = chosen
      phone.tool.current = chosen[0]
      return { groups: chosen.map((opengid) => ({ opengid })), opengid: chosen[0], opengids: chosen }
    },
    exitChatTool: async () => {
      inTool(phone)
      await phone.leaveTool()
      return {}
    },
  }
}

function moves(phone) {
  const to = (work) => async (options) => {
    await work(rules.must(options, "url", "String"))
    return {}
  }
  return {
    navigateTo: to((url) => phone.push(url)),
    redirectTo: to((url) => phone.replace(url)),
    reLaunch: to((url) => phone.relaunch(url)),
    navigateBack: async (options) => {
      await phone.back(options.delta ?? 1)
      return {}
    },
  }
}

function dialogs(phone) {
  const shows = (kind, field) => (options) => {
    rules.must(options, field, "String")
    phone.shown.push({ kind, title: options.title, content: options.content })
    return kind === "modal" ? { confirm: phone.picks.confirm !== false, cancel: phone.picks.confirm === false } : {}
  }
  const nothing = () => ({})
  return {
    showToast: shows("toast", "title"),
    showLoading: shows("loading", "title"),
    showModal: shows("modal", "content"),
    ...Object.fromEntries(
      ["hideToast", "hideLoading", "hideShareMenu", "showShareMenu", "setNavigationBarTitle", "stopPullDownRefresh", "vibrateShort"]
        .map((call) => [call, nothing]),
    ),
    showActionSheet: (options) => {
      rules.must(options, "itemList", "Array")
      return { tapIndex: phone.picks.tapIndex ?? 0 }
    },
    setClipboardData: (options) => (rules.must(options, "data", "String"), {}),
  }
}

// What the user picks from the telephone: always local paths.
function picks() {
  const one = (options) => ((options.mediaType ?? ["image"]).includes("video") ? "http://tmp/film.mp4" : "http://tmp/picture.png")
  return {
    chooseMedia: (options) => ({
      type: one(options).endsWith("mp4") ? "video" : "image",
      tempFiles: [{ tempFilePath: one(options), thumbTempFilePath: "http://tmp/thumb.jpg", size: 1024, fileType: "image" }],
    }),
    chooseImage: () => ({ tempFilePaths: ["http://tmp/picture.png"], tempFiles: [{ path: "http://tmp/picture.png", size: 1024 }] }),
    chooseVideo: () => ({ tempFilePath: "http://tmp/film.mp4", size: 1024 }),
    chooseMessageFile: () => ({ tempFiles: [{ path: "http://tmp/list.pdf", name: "list.pdf", size: 1024, type: "file", time: 0 }] }),
    downloadFile: () => ({ tempFilePath: "http://tmp/download.png", statusCode: 200 }),
    getImageInfo: () => ({ path: "http://tmp/picture.png", width: 500, height: 400, type: "png", orientation: "up" }),
  }
}

function synchronous(phone) {
  const options = () => ({ path: phone.path, query: phone.query, scene: phone.from ? 1044 : 1001, shareTicket: phone.shareTicket, apiCategory: category(), referrerInfo: {} })
  const category = () => (phone.tool ? "chatTool" : "default")
  return {
    getApiCategory: category,
    isChatTool: () => Boolean(phone.tool),
    getEnterOptionsSync: options,
    getLaunchOptionsSync: options,
    getStorageSync: (key) => (phone.storage.has(key) ? structuredClone(phone.storage.get(key)) : ""),
    setStorageSync: (key, value) => void phone.storage.set(key, structuredClone(value)),
    removeStorageSync: (key) => void phone.storage.delete(key),
    clearStorageSync: () => phone.storage.clear(),
    getAccountInfoSync: () => ({ miniProgram: { appId: phone.chats.appid, envVersion: "release", version: "1.0.0" } }),
    getAppBaseInfo: () => ({ SDKVersion: "3.12.0", version: "8.0.65", language: "zh_CN", theme: "light" }),
    getSystemInfoSync: () => ({ SDKVersion: "3.12.0", version: "8.0.65", language: "zh_CN", platform: "ios" }),
    getWindowInfo: () => ({ windowWidth: 390, windowHeight: 844, statusBarHeight: 47, pixelRatio: 3, safeArea: { top: 47, bottom: 810 } }),
    getMenuButtonBoundingClientRect: () => ({ top: 51, bottom: 83, left: 296, right: 383, width: 87, height: 32 }),
    canIUse: (name) => name.split(".")[0] in phone.wx,
    nextTick: (work) => phone.run(work),
    onApiCategoryChange: (listener) => void phone.listeners.push(listener),
    offApiCategoryChange: (listener) => void (phone.listeners = phone.listeners.filter((each) => each !== listener)),
    onAppShow: () => undefined,
    onError: () => undefined,
    onUnhandledRejection: () => undefined,
  }
}
