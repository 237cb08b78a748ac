import { Refused, bind, logIn, sentence } from '../../lib/backend'
import { Sealed, told } from '../../lib/wechat'

const LIST = '/tool/pages/list/list'
const AT_MOST = 9

/** An ordinary page, and the ways from it into the chat tool. */
Page({
  data: { busy: false, problem: '', origin: '', several: false },

  onLoad() {
    const { shareTicket } = wx.getEnterOptionsSync()
    if (shareTicket) void this.attempt(() => this.tellOrigin(shareTicket))
  },

  onShow() {
    // Base libraries before 3.12.0 do not have the open mode.
    if (wx.canIUse('isChatTool')) this.setData({ several: wx.isChatTool() })
  },

  /**
   * From a card in a chat: that chat is entered, and nobody has to choose it.
   * https://developers.weixin.qq.com/miniprogram/dev/api/open-api/group/wx.getGroupEnterInfo.html
   */
  enter() {
    return this.attempt(async () => {
      await logIn()
      const { room } = await bind(await groupEnterInfo())
      const roomid = room.opengid ?? room.open_single_roomid
      const chatType = room.chat_type ?? (room.opengid ? 3 : 1)
      await told((answer) => wx.openChatTool({ url: LIST, roomid, chatType, ...answer }))
    })
  },

  /**
   * From anywhere: without a room WeChat asks for one.
   * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.openChatTool.html
   */
  choose() {
    return this.attempt(() => told((answer) => wx.openChatTool({ url: LIST, ...answer })))
  },

  /**
   * The open mode binds several groups; each send then names one of them.
   * https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatToolOpenMode.html
   */
  enterSeveral() {
    return this.attempt(async () => {
      await told((answer) => wx.enterChatToolMode({ singleChatRoom: false, selectLimit: AT_MOST, ...answer }))
      await told((answer) => wx.navigateTo({ url: `${LIST}?several=1`, ...answer }))
    })
  },

  leaveSeveral() {
    return this.attempt(async () => {
      await told((answer) => wx.exitChatTool(answer))
      this.setData({ several: false })
    })
  },

  /**
   * The older way: a card that was shared with a ticket tells its group, without the chat tool. Where it names no
   * member livecard binds nobody (422): who this is there, the newer call tells.
   * https://developers.weixin.qq.com/miniprogram/dev/api/share/wx.getShareInfo.html
   */
  async tellOrigin(shareTicket: string) {
    await logIn()
    const older = await told<Sealed>((answer) => wx.getShareInfo({ shareTicket, ...answer }))
    await bind(older).catch(async (error) => {
      if (!(error instanceof Refused && error.status === 422)) throw error
      await bind(await groupEnterInfo())
    })
    this.setData({ origin: '已认出你来时的群聊' })
  },

  async attempt(work: () => Promise<unknown>) {
    this.setData({ busy: true, problem: '' })
    try {
      await work()
    } catch (error) {
      this.setData({ problem: sentence(error) })
    }
    this.setData({ busy: false })
  },
})

const groupEnterInfo = () =>
  told<Sealed>((answer) => wx.getGroupEnterInfo({ allowSingleChat: true, needGroupOpenID: true, ...answer }))
