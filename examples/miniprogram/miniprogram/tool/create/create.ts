// Create an activity, declare its card, send it: in this order, each after the other's success.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html

import { newKey, post, type Choices, type Made } from "../lib/api"
import { doing } from "../lib/page"
import { promised } from "../lib/promised"
import { choose, enter } from "../lib/room"

const HOUR = 60 * 60 * 1000

Page({
  data: {
    busy: false,
    trouble: "",
    title: "",
    template: "complete" as Choices["template"],
    everyone: false,
    members: [] as string[],
    hours: 0,
    made: false,
  },
  me: "",
  // The same as long as the user wants the same: an answer that was lost makes no second activity.
  key: newKey(),
  deadline: undefined as string | undefined,
  made: null as Made | null,

  onLoad() {
    return doing(this, async () => {
      this.me = (await enter()).group_openid
    })
  },

  onTitle(event: WechatMiniprogram.Input) {
    this.change({ title: event.detail.value.trim() })
  },

  onTemplate(event: WechatMiniprogram.RadioGroupChange) {
    this.change({ template: event.detail.value as Choices["template"] })
  },

  onWho(event: WechatMiniprogram.RadioGroupChange) {
    this.change({ everyone: event.detail.value === "everyone" })
  },

  onHours(event: WechatMiniprogram.RadioGroupChange) {
    const hours = Number(event.detail.value)
    this.deadline = hours ? new Date(Date.now() + hours * HOUR).toISOString() : undefined
    this.change({ hours })
  },

  chooseMembers() {
    return doing(this, async () => {
      this.change({ members: await choose(this.me) })
    })
  },

  change(what: object) {
    this.key = newKey()
    this.setData(what)
  },

  /** Whoever comes back without having sent the card sends this one, not another. */
  send() {
    return doing(this, async () => {
      this.made ??= await post<Made>("/activities", this.wanted(), this.key)
      this.setData({ made: true })
      const { activity_id, share_menu } = this.made
      const { title } = this.data
      const path = `/tool/activity/activity?id=${encodeURIComponent(activity_id)}`
      // https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.updateShareMenu.html
      await promised((then) => wx.updateShareMenu({ ...share_menu, ...then }))
      // https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareAppMessageToGroup.html
      await promised((then) => wx.shareAppMessageToGroup({ title, path, ...then }))
      await promised((then) => wx.redirectTo({ url: path, ...then }))
    })
  },

  wanted(): Choices {
    const { title, template, everyone, members } = this.data
    const who: Pick<Choices, "choose" | "participants"> =
      everyone ? { choose: "everyone" } : { choose: "listed", participants: members }
    return { template, title, ...who, ...(this.deadline ? { deadline: this.deadline } : {}) }
  },
})
