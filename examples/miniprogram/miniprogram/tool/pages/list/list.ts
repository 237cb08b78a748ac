import { attempt } from '../../lib/attempt'
import { Kept, kept } from '../../lib/kept'
import { activityPath } from '../../lib/paths'
import { enter, inChat, mode, roomId } from '../../lib/room'
import { told } from '../../lib/wechat'

/** Where the chat tool starts: everything that it can do is reached from here, as the platform's review asks. */
Page({
  data: { busy: false, problem: '', chat: false, activities: [] as Kept[] },

  onLoad(query: { several?: string }) {
    mode.several = query.several === '1'
    this.setData({ chat: inChat() })
    if (this.data.chat) {
      void attempt(this, async () => {
        await enter()
        this.show()
      })
    }
  },

  onShow() {
    this.show()
  },

  show() {
    if (roomId()) this.setData({ activities: kept(roomId()) })
  },

  create() {
    wx.navigateTo({ url: '/tool/pages/create/create' })
  },

  send() {
    wx.navigateTo({ url: '/tool/pages/send/send' })
  },

  open(event: WechatMiniprogram.TouchEvent<object, object, { id: string }>) {
    wx.navigateTo({ url: activityPath(event.currentTarget.dataset.id) })
  },

  /**
   * Back to an ordinary page ends the chat tool; navigateTo could not lead there.
   * https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html
   */
  leave() {
    return attempt(this, async () => {
      if (mode.several) await told((answer) => wx.exitChatTool(answer))
      await told((answer) => wx.navigateBack(answer))
    })
  },
})
