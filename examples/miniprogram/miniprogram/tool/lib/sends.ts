// What the user picks on the telephone and sends to the chat; each message has an entrance back to `entrancePath`.
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/chatTool.html

import { promised } from "./promised"

type Media = WechatMiniprogram.ChooseMediaSuccessCallbackResult
type Files = WechatMiniprogram.ChooseMessageFileSuccessCallbackResult

async function pick(kind: "image" | "video"): Promise<string> {
  const picked = await promised<Media>((then) => wx.chooseMedia({ count: 1, mediaType: [kind], ...then }))
  return picked.tempFiles[0].tempFilePath
}

export async function sendImage(entrancePath: string): Promise<void> {
  const imagePath = await pick("image")
  await promised((then) => wx.shareImageToGroup({ imagePath, entrancePath, ...then }))
}

/** An emoji is an image too, shown small and without a frame. */
export async function sendEmoji(entrancePath: string): Promise<void> {
  const imagePath = await pick("image")
  await promised((then) => wx.shareEmojiToGroup({ imagePath, entrancePath, ...then }))
}

export async function sendVideo(entrancePath: string): Promise<void> {
  const videoPath = await pick("video")
  await promised((then) => wx.shareVideoToGroup({ videoPath, entrancePath, ...then }))
}

export async function sendFile(entrancePath: string): Promise<void> {
  const picked = await promised<Files>((then) => wx.chooseMessageFile({ count: 1, type: "file", ...then }))
  const { path, name } = picked.tempFiles[0]
  await promised((then) => wx.shareFileToGroup({ filePath: path, fileName: name, entrancePath, ...then }))
}
