// The example's backend (../../backend) as the pages see it. It alone holds livecard's API key.
import { Fault, Sealed, told } from './wechat'

/** HTTPS, and listed as a request domain in the mini program's console. */
const BACKEND = 'https://backend.example.com'
const TRIES = 3
const PAUSE = 300

export interface Room {
  opengid?: string
  open_single_roomid?: string
  chat_type?: 1 | 2 | 3 | 4
}

export interface Bound {
  room: Room
  group_openid: string
}

export interface Wanted {
  template: 'complete' | 'participate'
  title: string
  choose: 'listed' | 'everyone'
  participants?: string[]
  deadline?: string
  close_when_complete?: boolean
}

export interface Created {
  activity_id: string
  expires_at: string
  share_menu: WechatMiniprogram.UpdateShareMenuOption
}

export interface Activity {
  activity_id: string
  title: string
  state: 'opening' | 'open' | 'nearing' | 'ended'
  deadline: string | null
  /** null: everyone in the chat. */
  participants: number | null
  done: number
  me: 'pending' | 'done' | 'bystander'
}

export interface Missing {
  members: string[]
  /** Absent when nobody is missing. */
  notify?: WechatMiniprogram.NotifyGroupMembersOption
}

/** What the backend refused; `status` 0: it was not reached. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail)
  }
}

let token = ''

/**
 * Before WeChat is asked who is in the chat: a login may change the key that its answer is sealed with.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
 */
export async function logIn(): Promise<void> {
  const { code } = await told<WechatMiniprogram.LoginSuccessCallbackResult>((answer) => wx.login(answer))
  token = (await send<{ token: string }>('POST', '/login', { js_code: code })).token
}

export function bind({ encryptedData, iv }: Sealed): Promise<Bound> {
  return send('POST', '/bind', { encryptedData, iv })
}

export async function members(): Promise<string[]> {
  const known = await send<{ members: { group_openid: string }[] }>('GET', '/room/members')
  return known.members.map((each) => each.group_openid)
}

export function create(wanted: Wanted): Promise<Created> {
  return send('POST', '/activities', wanted)
}

export function read(id: string): Promise<Activity> {
  return send('GET', at(id))
}

export function complete(id: string): Promise<unknown> {
  return send('POST', `${at(id)}/complete`, {})
}

export function close(id: string): Promise<unknown> {
  return send('POST', `${at(id)}/close`, {})
}

/** Who is not done, with the argument of wx.notifyGroupMembers. `entrance`: the page that the reminder opens. */
export function missing(id: string, entrance: string): Promise<Missing> {
  return send('GET', `${at(id)}/missing?entrance_path=${encodeURIComponent(entrance)}`)
}

const at = (id: string) => `/activities/${encodeURIComponent(id)}`

type Response = WechatMiniprogram.RequestSuccessCallbackResult

/** Every try has the same Idempotency-Key, so what an unheard answer had done is not done twice. */
async function send<T>(method: 'GET' | 'POST', path: string, data?: object): Promise<T> {
  const key = `${Date.now()}-${Math.random().toString(36).slice(2)}`
  for (let tries = 1; ; tries += 1) {
    const response = await ask(method, path, key, data)
    if (response && response.statusCode < 300) return response.data as T
    if (tries === TRIES || (response && ![429, 502, 503, 504].includes(response.statusCode))) {
      throw new Refused(response?.statusCode ?? 0, detail(response))
    }
    await new Promise<void>((resume) => setTimeout(resume, PAUSE * tries))
  }
}

function ask(method: 'GET' | 'POST', path: string, key: string, data?: object): Promise<Response | null> {
  const header = { Authorization: `Bearer ${token}`, 'Idempotency-Key': key }
  const option = { url: BACKEND + path, method, header, data: data as WechatMiniprogram.IAnyObject | undefined }
  return told<Response>((answer) => wx.request({ ...option, ...answer } as WechatMiniprogram.RequestOption)).catch(() => null)
}

function detail(response: Response | null): string {
  return (response?.data as { detail?: string } | undefined)?.detail ?? ''
}

const SENTENCES: Record<number, string> = {
  0: '连接不上服务，请检查网络后再试',
  401: '登录已过期，请重新打开小程序',
  403: '你不能这样做：请在发出卡片的聊天里打开，或请发起人操作',
  404: '找不到这个任务，它可能已被删除',
  409: '请从聊天里重新打开小程序',
  422: '内容不符合要求，请检查后再试',
  429: '操作太频繁，请稍后再试',
}

/** What a user is told of whatever went wrong; empty where they called it off themselves. */
export function sentence(error: unknown): string {
  if (error instanceof Refused) return SENTENCES[error.status] ?? '服务暂时不可用，请稍后再试'
  const errMsg = (error as Partial<Fault> | undefined)?.errMsg ?? ''
  if (errMsg.includes('cancel')) return ''
  return errMsg ? `微信没有完成这一步：${errMsg}` : '出了点问题，请重新打开小程序'
}
