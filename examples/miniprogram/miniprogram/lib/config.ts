// Where the backend is (../../backend). In production its domain is entered in the mini program's console:
// https://developers.weixin.qq.com/miniprogram/dev/framework/ability/network.html

export const BACKEND = "https://backend.example.com"
