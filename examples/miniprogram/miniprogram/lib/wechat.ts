// This folder stands in tool/lib too: an independent subpackage reaches nothing outside itself, and the main package
// nothing inside it.

/** How a call of wx fails. */
export interface Fault {
  errMsg: string
}

interface Answer<R> {
  success: (result: R) => void
  fail: (error: Fault) => void
}

/**
 * A call of wx as a promise: `told((answer) => wx.openChatTool({ url, ...answer }))`. Some calls, such as
 * wx.enterChatToolMode, have no promises of their own, so every call goes the same way here.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/app-service/api.html
 */
export function told<R>(call: (answer: Answer<R>) => unknown): Promise<R> {
  return new Promise((success, fail) => call({ success, fail }))
}

/** What WeChat seals for the backend, which alone can open it. */
export interface Sealed {
  encryptedData: string
  iv: string
}
