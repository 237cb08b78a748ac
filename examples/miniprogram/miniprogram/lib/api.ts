// The backend's routes (../../backend/README.md). It alone has livecard's API key.

import { BACKEND } from "./config"
import { promised, WxError } from "./promised"

type Answer = WechatMiniprogram.RequestSuccessCallbackResult
type Sealed = { encryptedData: string; iv: string }

export type Room = { opengid?: string; open_single_roomid?: string }
export type Bound = { room: Room; group_openid: string }
export type Choices = {
  template: "complete" | "participate"
  title: string
  choose: "listed" | "everyone"
  participants?: string[]
  deadline?: string
}
export type Made = { activity_id: string; share_menu: WechatMiniprogram.UpdateShareMenuOption }
export type View = {
  title: string
  state: "unseen" | "open" | "nearing" | "ended"
  deadline: string | null
  participants: number | null
  done: number
  me: "pending" | "done" | "bystander"
}
export type Missing = { members: string[]; notify?: WechatMiniprogram.NotifyGroupMembersOption }

/** The backend answered, but with no. */
export class Refused extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail)
  }
}

let token = ""

async function login(): Promise<void> {
  const { code } = await promised<WechatMiniprogram.LoginSuccessCallbackResult>((then) => wx.login(then))
  token = (await send<{ token: string }>("POST", "/login", newKey(), { js_code: code })).token
}

/** Tells the backend who is here and in which chat. `seal` asks WeChat, after the login: what it gives can be
 * opened only with the login's session key, so a new login needs it anew. */
export async function bind(seal: () => Promise<Sealed>): Promise<Bound> {
  const told = async () => {
    const { encryptedData, iv } = await seal()
    return await send<Bound>("POST", "/bind", newKey(), { encryptedData, iv })
  }
  if (!token) await login()
  try {
    return await told()
  } catch (error) {
    // 401: the login is too old; 422: another login of the same user changed the session key.
    if (!(error instanceof Refused && [401, 422].includes(error.status))) throw error
    await login()
    return await told()
  }
}

export const get = <Result>(path: string): Promise<Result> => logged<Result>("GET", path, "")

/** `key`: the same for one thing that the user wants, however often it is asked for. */
export const post = <Result>(path: string, body: object = {}, key = newKey()): Promise<Result> =>
  logged<Result>("POST", path, key, body)

export const activity = (id: string): string => `/activities/${encodeURIComponent(id)}`

export const newKey = (): string =>
  [0, 1, 2].map(() => Math.random().toString(36).slice(2).padEnd(11, "0")).join("")

async function logged<Result>(method: "GET" | "POST", path: string, key: string, body?: object): Promise<Result> {
  if (!token) await login()
  try {
    return await send<Result>(method, path, key, body)
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error
    await login()
    return await send<Result>(method, path, key, body)
  }
}

async function send<Result>(method: "GET" | "POST", path: string, key: string, data?: object): Promise<Result> {
  const header: Record<string, string> = { Authorization: `Bearer ${token}` }
  if (key) header["Idempotency-Key"] = key
  const ask = () => promised<Answer>((then) => wx.request({ url: BACKEND + path, method, header, data, ...then }))
  // A line that breaks says nothing of what was done: the key makes it safe to ask again.
  const answer = await ask().catch(ask)
  if (answer.statusCode >= 400) throw new Refused(answer.statusCode, (answer.data as { detail?: string }).detail ?? "")
  return answer.data as Result
}

/** What to tell the user; null where they themselves went back. */
export function sentence(error: unknown): string | null {
  if (error instanceof Refused) return SENTENCES[error.status] ?? "服务暂时不可用，请稍后再试"
  if (!(error instanceof WxError)) throw error
  if (error.cancelled) return null
  if (error.message.startsWith("request:")) return "网络不通，请检查后再试"
  if (error.message.includes("65206")) return "你已不在这个群里"
  if (error.message.includes("40097")) return "请从群聊里的卡片打开"
  return "微信没有完成这一步，请更新微信后再试"
}

const SENTENCES: Record<number, string> = {
  401: "登录已失效，请重新打开小程序",
  403: "你不能在这里做这件事",
  404: "找不到这个活动",
  409: "活动的状态已变化，请刷新",
  422: "填写的内容不符合要求，请修改",
  429: "操作太频繁，请稍后再试",
}
