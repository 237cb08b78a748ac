// The ordinary mode's start. The chat tool's subpackage is independent: opened by itself it runs without this file.
// https://developers.weixin.qq.com/miniprogram/dev/framework/subpackages/independent.html

App({})
