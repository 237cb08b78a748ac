// Where the chat tool begins: WeChat opens it from the chat's tools, and reviewers judge the tool by it.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html

import { get } from "../lib/api"
import { doing } from "../lib/page"
import { enter, inTool } from "../lib/room"

type Members = { members: { group_openid: string }[] }

Page({
  data: { busy: false, trouble: "", inTool: true, entered: false, people: [] as string[] },

  onLoad() {
    return this.enter()
  },

  enter() {
    return doing(this, async () => {
      this.setData({ inTool: inTool() })
      if (!this.data.inTool) return
      await enter()
      const { members } = await get<Members>("/room/members")
      this.setData({ entered: true, people: members.map((each) => each.group_openid) })
    })
  },

  /** In the ordinary mode: WeChat shows the user's chats. */
  chooseChat() {
    wx.openChatTool({ url: "/tool/entry/entry" })
  },

  create() {
    wx.navigateTo({ url: "/tool/create/create" })
  },
})
