// The head of every page here: skyline draws none, so pages bring their own, with the way out.
// https://developers.weixin.qq.com/miniprogram/dev/framework/runtime/skyline/migration/compatibility.html

import { leave } from "../lib/leave"

Component({
  properties: { title: String },
  data: { top: 0 },
  lifetimes: {
    attached() {
      this.setData({ top: wx.getWindowInfo().statusBarHeight })
    },
  },
  methods: {
    onLeave() {
      leave()
    },
  },
})
