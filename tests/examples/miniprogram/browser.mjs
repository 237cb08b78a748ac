// The stage in a browser: one phone, its pages mounted by glass-easel on the DOM, the same `wx` behind them.
//
// The test puts `reach(method, url, headers, body)` into the window, for a page of its own origin could reach
// neither simulator nor backend.

import * as adapter from "glass-easel-miniprogram-adapter"
import * as glassEasel from "glass-easel"
import { Chats } from "./chat.mjs"
import { seen } from "./hands.mjs"
import { Phone } from "./phone.mjs"

const through = async (url, { method = "GET", headers = {}, body } = {}) => {
  const told = await window.reach(method, String(url), headers, body ?? "")
  return new Response(told.text || null, { status: told.status, headers: told.headers })
}

/** A phone of this user's, with these files and the scripts made of their wxml. */
window.makePhone = ({ files, scripts, openid, appid, simulator }) => {
  const kit = { glassEasel, adapter, generate: (path) => scripts[path] }
  const chats = new Chats(simulator, appid, through)
  const phone = new Phone({ kit, files, openid, chats, fetch: through, mount })
  glassEasel.addGlobalErrorListener((error) => (phone.crashed(error), false))
  style(files)
  window.phone = phone
}

window.launch = async (url, options) => {
  await window.phone.launch(url, options)
  await window.phone.rest()
  return seen(window.phone)
}

window.seen = () => seen(window.phone)

// The page on top hides those below it.
function mount(root, page) {
  const placeholder = document.createElement("div")
  document.body.append(placeholder)
  root.attach(document.body, placeholder)
  page.element = root.getComponent().getBackendElement()
  page.unmount = () => page.element.remove()
}

// wxss as far as CSS carries it: a page is 750rpx wide.
function style(files) {
  const sheet = document.createElement("style")
  sheet.textContent = Object.entries(files)
    .filter(([path]) => path.endsWith(".wxss"))
    .map(([, text]) => text.replace(/([\d.]+)rpx/g, "calc($1 * 100vw / 750)").replace(/@import[^;]*;/g, ""))
    .join("\n")
  document.head.append(sheet)
}
