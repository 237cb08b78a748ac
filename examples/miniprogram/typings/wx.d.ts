// What WeChat's pages describe and miniprogram-api-typings 5.2.3 lacks, and nothing else: the calls of the open mode,
// and `opengid`, by which every send names its group there.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatToolOpenMode.html

declare namespace WechatMiniprogram {
  interface ChatToolOption {
    success?: (result: GeneralCallbackResult) => void
    fail?: (error: GeneralCallbackResult) => void
    complete?: (result: GeneralCallbackResult) => void
  }

  interface Wx {
    /** Whether the chat's calls may be made now. It answers at once. */
    isChatTool(): boolean
    /** The user picks, of the groups that are bound, those that the next sends go to. */
    selectGroups(option: ChatToolOption): void
    /** Leaves the mode that wx.enterChatToolMode entered; the page stays. */
    exitChatTool(option: ChatToolOption): void
  }

  interface ShareAppMessageToGroupOption {
    opengid?: string
  }
  interface NotifyGroupMembersOption {
    opengid?: string
  }
  interface ShareImageToGroupOption {
    opengid?: string
  }
}
