/**
 * What miniprogram-api-typings 5.2.3 does not have: calls of the chat tools' open mode, and the group that a send
 * names in it. A test notices when the typings gain one of them; then it goes from here.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatToolOpenMode.html
 */
declare namespace WechatMiniprogram {
  /** The group that a send goes to, of those chosen by wx.selectGroups; in the open mode only. */
  interface ToGroup {
    opengid?: string
  }
  /** How a call answers. */
  interface OpenModeAnswer<R> {
    success?: (result: R) => void
    fail?: (error: GeneralCallbackResult) => void
    complete?: () => void
  }
  interface Wx {
    selectGroups(option: OpenModeAnswer<{ opengid?: string; opengids?: string[] }>): void
    /** Without options, and at once: https://developers.weixin.qq.com/minigame/dev/api/chattool/wx.isChatTool.html */
    isChatTool(): boolean
    exitChatTool(option: OpenModeAnswer<unknown>): void
  }
  interface SelectGroupMembersOption extends ToGroup {}
  interface ShareAppMessageToGroupOption extends ToGroup {}
  interface ShareImageToGroupOption extends ToGroup {}
  interface ShareEmojiToGroupOption extends ToGroup {}
  interface ShareVideoToGroupOption extends ToGroup {}
  interface ShareFileToGroupOption extends ToGroup {}
  interface NotifyGroupMembersOption extends ToGroup {}
}
