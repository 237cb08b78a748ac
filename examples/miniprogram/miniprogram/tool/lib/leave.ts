// Out of the chat tool: back over all its pages to the ordinary one below. Forward is not allowed there.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html

const HOME = "/pages/home/home"

export function leave(): void {
  const own = getCurrentPages().filter((page) => !page.route || page.route.startsWith("tool/"))
  // Opened from a card there is no page below.
  wx.navigateBack({ delta: own.length, fail: () => wx.reLaunch({ url: HOME }) })
}
