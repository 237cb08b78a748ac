/**
 * The head of every page here, with the way back: skyline draws none, and takes only pages that bring their own.
 * https://developers.weixin.qq.com/miniprogram/dev/framework/runtime/skyline/migration/compatibility.html
 */
Component({
  properties: { title: String },
  data: { top: 0 },
  lifetimes: {
    attached() {
      this.setData({ top: wx.getWindowInfo().statusBarHeight })
    },
  },
  methods: {
    back() {
      wx.navigateBack({})
    },
  },
})
