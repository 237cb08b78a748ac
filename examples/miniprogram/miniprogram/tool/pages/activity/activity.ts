import { attempt } from '../../lib/attempt'
import { Activity, close, complete, missing, read } from '../../lib/backend'
import { keep } from '../../lib/kept'
import { activityPath } from '../../lib/paths'
import { inRoom, roomId, target } from '../../lib/room'
import { told } from '../../lib/wechat'

const MINE = { pending: '你还没有完成', done: '你已完成', bystander: '你无需完成' }

/** One activity: the page that its card and its reminders open. */
Page({
  data: {
    busy: false,
    problem: '',
    note: '',
    activity: null as Activity | null,
    running: false,
    progress: '',
    mine: '',
    missing: [] as string[],
  },
  id: '',

  onLoad(query: { id?: string }) {
    this.id = decodeURIComponent(query.id ?? '')
    return this.refresh()
  },

  refresh() {
    return attempt(this, () => this.load())
  },

  async load() {
    const [activity, who] = await inRoom(() => Promise.all([read(this.id), missing(this.id, activityPath(this.id))]))
    const opening = activity.state === 'opening'
    const of = activity.participants === null ? '' : `，共 ${activity.participants} 人`
    this.setData({
      activity,
      running: activity.state !== 'ended',
      progress: opening ? '正在发布' : activity.state === 'ended' ? '已结束' : `${activity.done} 人已完成${of}`,
      mine: MINE[activity.me],
      missing: who.members,
    })
    keep(roomId(), { id: this.id, title: activity.title })
  },

  finish() {
    return attempt(this, async () => {
      await inRoom(() => complete(this.id))
      await this.accepted('已记下，卡片马上会更新')
      this.setData({ 'activity.me': 'done', mine: MINE.done })
    })
  },

  end() {
    return attempt(this, async () => {
      await inRoom(() => close(this.id))
      await this.accepted('任务即将结束')
    })
  },

  /** Accepted is not applied: what is read just now may still be as it was. */
  async accepted(note: string) {
    await this.load()
    this.setData({ note })
  },

  /**
   * WeChat names them in the chat, with a link to this page.
   * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.notifyGroupMembers.html
   */
  remind() {
    return attempt(this, async () => {
      const group = await target()
      const { notify } = await inRoom(() => missing(this.id, activityPath(this.id)))
      if (!notify) return this.setData({ missing: [], note: '大家都完成了' })
      await told((answer) => wx.notifyGroupMembers({ ...notify, ...group, ...answer }))
      return this.setData({ note: '已提醒' })
    })
  },
})
