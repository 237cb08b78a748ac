// The independent subpackage's own start: it runs before its pages, where app.ts does not.
// https://developers.weixin.qq.com/miniprogram/dev/framework/subpackages/independent.html
export {}
