// wx calls as promises. Many of them can do it themselves, yet not wx.request and not those of the open mode:
// one way for all.
// https://developers.weixin.qq.com/miniprogram/dev/framework/app-service/api.html

type Failed = WechatMiniprogram.GeneralCallbackResult
type Then<Result> = { success: (result: Result) => void; fail: (error: Failed) => void }

/** WeChat refused a call; `message` is its own errMsg. */
export class WxError extends Error {
  get cancelled(): boolean {
    return /\bcancel/.test(this.message)
  }
}

/** `call` gets the callbacks: `promised<Result>((then) => wx.something({ title, ...then }))`. */
export function promised<Result>(call: (then: Then<Result>) => unknown): Promise<Result> {
  return new Promise((resolve, reject) => {
    call({ success: resolve, fail: (error) => reject(new WxError(error.errMsg)) })
  })
}
