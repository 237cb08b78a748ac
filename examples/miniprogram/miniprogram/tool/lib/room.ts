// The chat that the tool is bound to, and who its user is there.
import { Bound, Refused, bind, logIn } from './backend'
import { Sealed, told } from './wechat'

/** Whether several groups are bound (the open mode). The list's page sets it from its query. */
export const mode = { several: false }

let here: Bound | null = null

/** In a chat? A page of the tool may also be opened by itself, and then sends nothing. */
export const inChat = () => wx.getApiCategory() === 'chatTool'

/**
 * Log in, and let the backend open what WeChat seals about this chat.
 * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.getChatToolInfo.html
 */
export async function enter(): Promise<Bound> {
  await logIn()
  here = await bind(await told<Sealed>((answer) => wx.getChatToolInfo(answer)))
  return here
}

/** Work that needs the room; once more after a new login, where the backend has forgotten the old one. */
export async function inRoom<T>(work: () => Promise<T>): Promise<T> {
  if (!here) await enter()
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error
    await enter()
    return await work()
  }
}

/** The room's id, under which this phone remembers its activities. */
export function roomId(): string {
  return here?.room.opengid ?? here?.room.open_single_roomid ?? ''
}

/**
 * Where the next send goes: in the open mode to the group that the user chooses now, else to the chat around us.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatToolOpenMode.html
 */
export async function target(): Promise<{ opengid?: string }> {
  if (!mode.several) return {}
  const chosen = await told<{ opengid?: string; opengids?: string[] }>((answer) => wx.selectGroups(answer))
  const opengid = chosen.opengid ?? chosen.opengids?.[0]
  // What is created next belongs to that group, so the backend has to know it.
  await enter()
  if (!opengid || opengid !== roomId()) throw { errMsg: 'selectGroups:fail cancel' }
  return { opengid }
}
