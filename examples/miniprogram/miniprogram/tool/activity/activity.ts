// One activity: what its card opens, for whoever takes part and for whoever published it.

import { activity, get, post, type Missing, type View } from "../lib/api"
import { doing } from "../lib/page"
import { promised } from "../lib/promised"
import { enter, inTool } from "../lib/room"
import { sendEmoji, sendFile, sendImage, sendVideo } from "../lib/sends"

const ME = { pending: "你还没有完成", done: "你已完成", bystander: "你无需完成" }
const STATES: Record<string, string> = { open: "进行中", nearing: "即将截止", ended: "已结束" }

Page({
  data: {
    busy: false,
    trouble: "",
    told: "",
    shown: false,
    inTool: true,
    ended: false,
    title: "",
    state: "",
    me: "",
    mayComplete: false,
    done: 0,
    missing: [] as string[],
    text: "",
    entrance: "",
  },
  id: "",

  onLoad(query: { id?: string }) {
    this.id = decodeURIComponent(query.id ?? "")
    this.setData({ entrance: `/tool/activity/activity?id=${encodeURIComponent(this.id)}` })
    return this.open()
  },

  open() {
    return doing(this, async () => {
      this.setData({ inTool: inTool() })
      if (!this.data.inTool) return
      await enter()
      await this.show()
    })
  },

  refresh() {
    return doing(this, () => this.show())
  },

  async show() {
    const view = await get<View>(activity(this.id))
    const ended = view.state === "ended"
    this.setData({
      shown: true,
      ended,
      title: view.title,
      state: STATES[view.state] ?? "正在准备",
      me: ME[view.me],
      mayComplete: !ended && view.me === "pending",
      done: view.done,
      missing: ended ? [] : (await this.ask()).members,
    })
  },

  ask() {
    const entrance = encodeURIComponent(this.data.entrance)
    return get<Missing>(`${activity(this.id)}/missing?entrance_path=${entrance}`)
  },

  /** livecard takes it and tells the card; that a view of now does not show it yet is no failure. */
  complete() {
    return doing(this, async () => {
      await post(`${activity(this.id)}/complete`)
      await this.show()
      this.setData({ mayComplete: false, me: ME.done, told: "已提交，卡片稍后更新" })
    })
  },

  /** Asks again who is missing: nobody who is done meanwhile is named in front of all.
   * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.notifyGroupMembers.html */
  remind() {
    return doing(this, async () => {
      const { members, notify } = await this.ask()
      this.setData({ missing: members, told: members.length ? "已提醒" : "大家都完成了" })
      if (notify && members.length) await promised((then) => wx.notifyGroupMembers({ ...notify, ...then }))
    })
  },

  close() {
    return doing(this, async () => {
      const content = "结束后卡片显示“已结束”，不能再打开。"
      const answer = await promised<WechatMiniprogram.ShowModalSuccessCallbackResult>((then) =>
        wx.showModal({ title: "结束活动？", content, ...then }),
      )
      if (!answer.confirm) return
      await post(`${activity(this.id)}/close`)
      this.setData({ told: "已结束，卡片稍后更新", ended: true, mayComplete: false, missing: [], state: STATES.ended })
    })
  },

  onText(event: WechatMiniprogram.Input) {
    this.setData({ text: event.detail.value })
  },

  /** WeChat itself sends the form's text, and then says so; whether the chat has it, it does not say.
   * https://developers.weixin.qq.com/miniprogram/dev/component/form.html */
  onTextSent() {
    this.setData({ text: "" })
  },

  sendImage() {
    return doing(this, () => sendImage(this.data.entrance))
  },
  sendEmoji() {
    return doing(this, () => sendEmoji(this.data.entrance))
  },
  sendVideo() {
    return doing(this, () => sendVideo(this.data.entrance))
  },
  sendFile() {
    return doing(this, () => sendFile(this.data.entrance))
  },

  /** A card that was opened in the ordinary mode. */
  chooseChat() {
    wx.openChatTool({ url: this.data.entrance })
  },
})
