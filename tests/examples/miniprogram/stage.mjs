// The stage in node: phones on which the mini program runs, driven by a line of JSON each way.
//
//     node stage.mjs NODE_MODULES FILES.json SIMULATOR BACKEND APPID
//
// FILES.json has the compiled mini program, path → text. A line in: {"phone": "o-alex", "do": …}, as hands.mjs has
// it; {"do": "move", "backend"} lets every phone find the backend elsewhere. A line out: what is to be seen, or {"error"}. {"do": "said"} answers what the pages sent to the chats.

import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { createInterface } from "node:readline"
import { Chats } from "./chat.mjs"
import { generator } from "./generate.mjs"
import { act } from "./hands.mjs"
import { Phone } from "./phone.mjs"

const [modules, files, simulator, , appid] = process.argv.slice(2)
let backend = process.argv[5]
const require = createRequire(`${modules}/x.js`)
const kit = {
  glassEasel: require("glass-easel"),
  adapter: require("glass-easel-miniprogram-adapter"),
  generate: generator(modules),
}
const chats = new Chats(simulator, appid, fetch)
const phones = new Map()
// The mini program names its backend by a domain; here it is wherever the test has it.
const reach = (url, options) => fetch(backend + new URL(url).pathname + new URL(url).search, options)
let current = null

kit.glassEasel.addGlobalErrorListener((error) => (current?.crashed(error), false))
process.on("unhandledRejection", (error) => current?.crashed(error))
console.log = console.info = console.warn = console.error

function phoneOf(openid) {
  if (!phones.has(openid)) {
    phones.set(openid, new Phone({ kit, files: JSON.parse(readFileSync(files, "utf-8")), openid, chats, fetch: reach }))
  }
  return phones.get(openid)
}

for await (const line of createInterface({ input: process.stdin })) {
  const wish = JSON.parse(line)
  let told
  try {
    if (wish.do === "said") told = { said: chats.said }
    else if (wish.do === "move") told = { moved: (backend = wish.backend) }
    else told = await act((current = phoneOf(wish.phone)), wish)
  } catch (error) {
    told = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(`${JSON.stringify(told)}\n`)
}
process.exit(0)
