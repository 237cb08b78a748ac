// The open mode: several groups are bound at once, the page stays, and each send names one of them. It has to be
// applied for, and is for certain categories only.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatToolOpenMode.html

import { bind, newKey, post, type Made } from "../../lib/api"
import { doing } from "../../lib/page"
import { promised } from "../../lib/promised"

type Sealed = WechatMiniprogram.GetChatToolInfoSuccessCallbackResult
type Media = WechatMiniprogram.ChooseMediaSuccessCallbackResult

const MOST_GROUPS = 9

Page({
  data: { busy: false, trouble: "", told: "", able: true, inside: false, opengid: "", title: "团建报名" },
  // One card for each group: a key of its own, the same on every try.
  key: "",

  onShow() {
    const able = wx.canIUse("enterChatToolMode")
    this.setData({ able, inside: able && wx.isChatTool() })
  },

  onUnload() {
    if (this.data.inside) wx.exitChatTool({})
  },

  onTitle(event: WechatMiniprogram.Input) {
    this.key = newKey()
    this.setData({ title: event.detail.value })
  },

  enter() {
    return doing(this, async () => {
      const choice = { singleChatRoom: false, selectLimit: MOST_GROUPS }
      await promised((then) => wx.enterChatToolMode({ ...choice, ...then }))
      this.setData({ inside: wx.isChatTool() })
    })
  },

  /** What wx.selectGroups answers is not documented: the group's id comes from what the backend could open. */
  chooseGroup() {
    return doing(this, async () => {
      this.setData({ opengid: "", told: "" })
      await promised((then) => wx.selectGroups(then))
      const { room } = await bind(() => promised<Sealed>((then) => wx.getChatToolInfo(then)))
      this.key = newKey()
      this.setData({ opengid: room.opengid ?? "" })
    })
  },

  sendCard() {
    return doing(this, async () => {
      const { title, opengid } = this.data
      const wanted = { template: "participate", title, choose: "everyone" }
      const { activity_id, share_menu } = await post<Made>("/activities", wanted, this.key)
      await promised((then) => wx.updateShareMenu({ ...share_menu, ...then }))
      const path = `/tool/activity/activity?id=${encodeURIComponent(activity_id)}`
      await promised((then) => wx.shareAppMessageToGroup({ title, path, opengid, ...then }))
      this.key = newKey()
      this.setData({ told: "卡片已发到这个群" })
    })
  },

  sendImage() {
    return doing(this, async () => {
      const { opengid } = this.data
      const picked = await promised<Media>((then) => wx.chooseMedia({ count: 1, mediaType: ["image"], ...then }))
      const imagePath = picked.tempFiles[0].tempFilePath
      await promised((then) => wx.shareImageToGroup({ imagePath, opengid, ...then }))
      this.setData({ told: "图片已发到这个群" })
    })
  },

  leave() {
    return doing(this, async () => {
      await promised((then) => wx.exitChatTool(then))
      this.setData({ inside: wx.isChatTool(), opengid: "", told: "" })
    })
  },
})
