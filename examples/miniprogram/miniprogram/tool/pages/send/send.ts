import { attempt } from '../../lib/attempt'
import { LIST } from '../../lib/paths'
import { mode, target } from '../../lib/room'
import { told } from '../../lib/wechat'

type Kind = 'image' | 'video'

/** Everything else that a chat takes. Paths are local ones: what lies in the web is downloaded first. */
Page({
  data: { busy: false, problem: '', note: '', several: mode.several, group: '' },

  onLoad() {
    this.setData({ several: mode.several })
  },

  /** The open mode: the form's button names the group, which is chosen before anything can be sent by it. */
  choose() {
    return attempt(this, async () => {
      const { opengid } = await target()
      this.setData({ group: opengid ?? '' })
    })
  },

  /**
   * WeChat has sent the form's text itself.
   * https://developers.weixin.qq.com/miniprogram/dev/component/form.html
   */
  sent() {
    this.setData({ note: '已发送' })
  },

  /** https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareImageToGroup.html */
  image() {
    return this.send(async () => {
      const option = { imagePath: await picked('image'), entrancePath: LIST, ...(await target()) }
      await told((answer) => wx.shareImageToGroup({ ...option, ...answer }))
    })
  },

  /** https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareEmojiToGroup.html */
  emoji() {
    return this.send(async () => {
      const option = { imagePath: await picked('image'), entrancePath: LIST, ...(await target()) }
      await told((answer) => wx.shareEmojiToGroup({ ...option, ...answer }))
    })
  },

  /** https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareVideoToGroup.html */
  video() {
    return this.send(async () => {
      const option = { videoPath: await picked('video'), entrancePath: LIST, ...(await target()) }
      await told((answer) => wx.shareVideoToGroup({ ...option, ...answer }))
    })
  },

  /** https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.shareFileToGroup.html */
  file() {
    return this.send(async () => {
      const { tempFiles } = await told<WechatMiniprogram.ChooseMessageFileSuccessCallbackResult>((answer) =>
        wx.chooseMessageFile({ count: 1, type: 'file', ...answer }),
      )
      const { path: filePath, name: fileName } = tempFiles[0]
      const option = { filePath, fileName, entrancePath: LIST, ...(await target()) }
      await told((answer) => wx.shareFileToGroup({ ...option, ...answer }))
    })
  },

  send(work: () => Promise<void>) {
    return attempt(this, async () => {
      await work()
      this.setData({ note: '已发送' })
    })
  },
})

async function picked(kind: Kind): Promise<string> {
  const { tempFiles } = await told<WechatMiniprogram.ChooseMediaSuccessCallbackResult>((answer) =>
    wx.chooseMedia({ count: 1, mediaType: [kind], ...answer }),
  )
  return tempFiles[0].tempFilePath
}
