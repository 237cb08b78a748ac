import { attempt } from '../../lib/attempt'
import { Created, create } from '../../lib/backend'
import { keep } from '../../lib/kept'
import { activityPath } from '../../lib/paths'
import { inRoom, roomId, target } from '../../lib/room'
import { told } from '../../lib/wechat'

const AT_MOST = 50

/** A new activity, and its card. */
Page({
  data: { busy: false, problem: '', title: '', members: [] as string[] },
  /** The group that was chosen together with the members (the open mode). */
  group: null as { opengid?: string } | null,
  /** What was created but not shared yet: another try shares it, and makes no second one. */
  made: null as Created | null,

  type(event: WechatMiniprogram.Input) {
    this.made = null
    this.setData({ title: event.detail.value.trim() })
  },

  /**
   * The platform's own list of the chat's people; in a one-to-one chat it answers at once.
   * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.selectGroupMembers.html
   */
  choose() {
    return attempt(this, async () => {
      this.made = null
      this.setData({ members: [] })
      this.group = await target()
      const group = this.group
      const { members } = await told<{ members: string[] }>((answer) =>
        wx.selectGroupMembers({ maxSelectCount: AT_MOST, ...group, ...answer }),
      )
      this.setData({ members })
    })
  },

  publish() {
    return attempt(this, async () => {
      this.group ??= await target()
      const { title } = this.data
      const made = (this.made ??= await this.create())
      await this.share(made, title)
      keep(roomId(), { id: made.activity_id, title })
      await told((answer) => wx.redirectTo({ url: activityPath(made.activity_id), ...answer }))
    })
  },

  create(): Promise<Created> {
    const { title, members } = this.data
    const who = members.length
      ? { choose: 'listed' as const, participants: members, close_when_complete: true }
      : { choose: 'everyone' as const }
    return inRoom(() => create({ template: 'complete', title, ...who }))
  },

  /**
   * First what the next card is, and only after its success the card.
   * https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.updateShareMenu.html
   * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareAppMessageToGroup.html
   */
  async share(made: Created, title: string) {
    const card = { title, path: activityPath(made.activity_id), ...this.group }
    await told((answer) => wx.updateShareMenu({ ...made.share_menu, ...answer }))
    await told((answer) => wx.shareAppMessageToGroup({ ...card, ...answer }))
  },
})
