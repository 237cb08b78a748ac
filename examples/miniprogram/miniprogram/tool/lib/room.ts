// The chat that the tool is bound to.

import { bind, type Bound } from "./api"
import { promised } from "./promised"

type Sealed = WechatMiniprogram.GetChatToolInfoSuccessCallbackResult

/** The subpackage can be opened in the ordinary mode too; there no chat's call works.
 * https://developers.weixin.qq.com/miniprogram/dev/api/base/app/life-cycle/wx.getApiCategory.html */
export const inTool = (): boolean => wx.getApiCategory() === "chatTool"

/** Every page that a chat can open asks anew: the mini program may still run from another chat.
 * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.getChatToolInfo.html */
export const enter = (): Promise<Bound> => bind(() => promised<Sealed>((then) => wx.getChatToolInfo(then)))

/** Whom the user picks, and never the user. In a chat of two nobody is asked: WeChat's reference says that both are
 * answered, its guide that only the other is. `most` keeps a card within what livecard takes at once.
 * https://developers.weixin.qq.com/miniprogram/dev/api/chattool/wx.selectGroupMembers.html */
export async function choose(me: string, most = 100): Promise<string[]> {
  const picked = await promised<WechatMiniprogram.GroupMemberInfo>((then) =>
    wx.selectGroupMembers({ maxSelectCount: most, ...then }),
  )
  return picked.members.filter((each) => each !== me)
}
