// The ordinary mode: whence the user comes, and the ways into the chat tool.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html

import { bind, type Bound, type Room } from "../../lib/api"
import { doing } from "../../lib/page"
import { promised } from "../../lib/promised"

type Sealed = WechatMiniprogram.GetGroupEnterInfoSuccessCallbackResult
type ShareInfo = WechatMiniprogram.GetGroupEnterInfoSuccessCallbackResult

const TOOL = "/tool/entry/entry"
const FROM_GROUP_CARD = 1044

Page({
  data: { busy: false, trouble: "", fromChat: false, hasTicket: false, known: "" },

  onLoad() {
    // Cards that are sent from here carry a ticket, by which the chat is known to whoever opens them.
    wx.showShareMenu({ withShareTicket: true })
  },

  onShow() {
    const { scene, shareTicket } = wx.getEnterOptionsSync()
    this.setData({ fromChat: scene === FROM_GROUP_CARD, hasTicket: Boolean(shareTicket) })
  },

  onShareAppMessage() {
    return { title: "群活动", path: "/pages/home/home" }
  },

  /** WeChat shows the user's chats. */
  chooseChat() {
    return doing(this, () => promised((then) => wx.openChatTool({ url: TOOL, ...then })))
  },

  /** The chat whose card was opened: the user need not choose it again.
   * https://developers.weixin.qq.com/miniprogram/dev/api/open-api/group/wx.getGroupEnterInfo.html */
  enterThisChat() {
    return doing(this, async () => {
      const seal = () =>
        promised<Sealed>((then) => wx.getGroupEnterInfo({ allowSingleChat: true, needGroupOpenID: true, ...then }))
      const { room } = await bind(seal)
      await promised((then) => wx.openChatTool({ url: TOOL, ...named(room), ...then }))
    })
  },

  /** The older way, for what needs no chat tool: who is in the group is known, and no more.
   * https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.getShareInfo.html */
  knowGroup() {
    return doing(this, async () => {
      const shareTicket = wx.getEnterOptionsSync().shareTicket ?? ""
      const seal = () => promised<ShareInfo>((then) => wx.getShareInfo({ shareTicket, ...then }))
      const bound: Bound = await bind(seal)
      this.setData({ known: bound.room.opengid ? "已认出这个群" : "已认出这个聊天" })
    })
  },

  severalGroups() {
    wx.navigateTo({ url: "/pages/open/open" })
  },
})

// A room's id has to come with its kind of chat; the ids alone do not tell WeCom's from WeChat's.
function named(room: Room): { roomid?: string; chatType: 1 | 2 | 3 | 4 } {
  const { chatType } = wx.getEnterOptionsSync()
  return { roomid: room.opengid ?? room.open_single_roomid, chatType: chatType ?? (room.opengid ? 3 : 1) }
}
