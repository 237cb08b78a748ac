// The subpackage's entry file: it runs first, and app.ts does not, when a card opens the chat tool by itself.
// https://developers.weixin.qq.com/miniprogram/dev/framework/subpackages/independent.html

if (!wx.canIUse("getChatToolInfo")) {
  wx.showModal({ title: "请更新微信", content: "这里需要微信 8.0.56 或更新的版本。", showCancel: false })
}
