// One user's telephone with the mini program on it: its files loaded, its pages stacked, each shown on a screen.

import * as screen from "./screen.mjs"
import { Fail } from "./rules.mjs"
import { makeWx } from "./wx.mjs"

// What a page's script does not find on a telephone, whatever node or a browser has.
const ABSENT = ["window", "document", "fetch", "process", "global", "globalThis", "localStorage", "XMLHttpRequest", "Buffer"]

export class Phone {
  /** `kit`: glass-easel, its adapter and compiler. `files`: path → text, of the compiled mini program.
   * `mount(root)` puts a page where it is seen; without it nothing is drawn. */
  constructor({ kit, files, openid, chats, fetch, mount }) {
    Object.assign(this, { kit, files, openid, chats, fetch, mount })
    Object.assign(this, { calls: [], shown: [], crashes: [], faults: {}, picks: {}, listeners: [], menu: null })
    this.config = JSON.parse(files["app.json"])
    this.storage = new Map()
    this.pages = []
    this.below = []
    this.tool = null
    this.waiting = new Set()
    this.wx = makeWx(this)
  }

  /** Open the mini program: from a chat (`from`, perhaps by a card with a ticket), or from nowhere. In the chat
   * tool at once if `tool` says so. */
  async launch(url, { from = null, shareTicket, tool = null } = {}) {
    this.pages.push(...this.below.splice(0))
    while (this.pages.length) this._pop()
    Object.assign(this, { from, shareTicket, tool, app: undefined, modules: new Map() })
    const { env, code } = screen.codeSpace(this.kit)
    Object.assign(this, { env, code, components: new Set(), backend: env.associateBackend(this._backend()) })
    await this.push(url)
  }

  _backend() {
    const { glassEasel } = this.kit
    if (!this.mount) return new glassEasel.EmptyBackendContext()
    const window = new glassEasel.CurrentWindowBackendContext()
    window.onEvent((target, type, detail, options) => screen.heard(this.kit, target, type, detail, options))
    return window
  }

  /** Anything that a page's own code throws ends here. */
  run(work) {
    try {
      const told = work()
      if (told?.then) this.busy(told.catch((error) => this.crashed(error)))
      return told
    } catch (error) {
      return this.crashed(error)
    }
  }

  crashed(error) {
    this.crashes.push(String(error?.stack ?? error?.errMsg ?? JSON.stringify(error)))
  }

  /** A promise that has to end before the phone is at rest. */
  busy(promise) {
    const held = promise.then(() => undefined, () => undefined).finally(() => this.waiting.delete(held))
    this.waiting.add(held)
  }

  /** Until no call is under way. */
  async rest() {
    do {
      await Promise.all(this.waiting)
      await new Promise((resolve) => setTimeout(resolve))
    } while (this.waiting.size)
  }

  // The stack of pages

  get page() {
    return this.pages.at(-1)
  }

  async push(url) {
    const [path, text = ""] = url.replace(/^\//, "").split("?")
    // As it stands in the address: the platform decodes nothing.
    const query = Object.fromEntries(text.split("&").filter(Boolean).map((each) => each.split(/=(.*)/s).slice(0, 2)))
    this._check(path, this.tool)
    Object.assign(this, { path, query })
    this._load(path)
    if (this.page) this._call(this.page, "onHide", "hide")
    const mounted = this.backend.createRoot("page", this.code, path)
    const page = { path, component: mounted.getComponent(), instance: mounted.get() }
    page.instance.options = query
    this.pages.push(page)
    this.mount ? this.mount(mounted, page) : this.kit.glassEasel.Element.pretendAttached(page.component)
    if (typeof page.instance.onLoad === "function") this.run(() => page.instance.onLoad(query))
    this._call(page, "onShow", "show")
    this._call(page, "onReady", "ready")
  }

  // In a chat tool there are its own pages only.
  _check(path, tool) {
    const root = this.config.chatTools?.[0]?.root
    if (tool && !tool.open && !path.startsWith(`${root}/`)) throw new Fail(`"${path}" is no page of the chat tool`)
  }

  _call(page, method, lifetime) {
    if (typeof page.instance[method] === "function") this.run(() => page.instance[method]())
    page.component.triggerPageLifetime?.(lifetime, [])
  }

  _pop() {
    const page = this.pages.pop()
    if (typeof page.instance.onUnload === "function") this.run(() => page.instance.onUnload())
    page.instance.setData = () => undefined // as on a telephone: what its calls answer later changes nothing
    this.kit.glassEasel.Element.pretendDetached(page.component)
    page.unmount?.()
  }

  async replace(url) {
    this._pop()
    await this.push(url)
  }

  async relaunch(url) {
    while (this.pages.length) this._pop()
    await this.push(url)
  }

  async back(delta) {
    if (this.tool && !this.tool.open && delta >= this.pages.length) return await this.leaveTool()
    for (let left = Math.min(delta, this.pages.length - 1); left > 0; left -= 1) this._pop()
    this._call(this.page, "onShow", "show")
  }

  async openTool(tool, url) {
    this._check(url.replace(/^\//, ""), tool)
    Object.assign(this, { tool, below: this.pages, pages: [] })
    this._tell()
    await this.push(url)
  }

  async leaveTool() {
    if (!this.tool.open) {
      while (this.pages.length) this._pop()
      this.pages = this.below
    }
    Object.assign(this, { tool: null, below: [] })
    this._tell()
    if (this.page) this._call(this.page, "onShow", "show")
  }

  _tell() {
    for (const listener of this.listeners) this.run(() => listener({ apiCategory: this.wx.getApiCategory() }))
  }

  // The code

  _package(path) {
    const found = (this.config.subPackages ?? this.config.subpackages ?? []).find((each) => path.startsWith(`${each.root}/`))
    return found ?? { root: "", independent: false }
  }

  _load(path) {
    const of = this._package(path)
    const known = of.root ? of.pages.map((each) => `${of.root}/${each}`) : this.config.pages
    if (!known.includes(path)) throw new Error(`page "${path}" is not found`)
    if (!of.independent && !this.app) this._require("app", "app")
    if (of.entry) this._require(`${of.root}/${of.entry}`.replace(/\.js$/, ""), of.root)
    this._component(path)
  }

  // A page or component with all it uses.
  _component(path) {
    if (this.components.has(path)) return
    this.components.add(path)
    const config = JSON.parse(this.files[`${path}.json`] ?? "{}")
    for (const used of Object.values(config.usingComponents ?? {})) this._component(this._resolve(path, used))
    this.code.addComponentStaticConfig(path, config)
    this.code.addCompiledTemplate(path, screen.template(this.kit, path, this.files[`${path}.wxml`]))
    this.code.componentEnv(path, (registers) => this._require(path, path, registers))
  }

  _resolve(from, to) {
    const base = to.startsWith("/") ? [] : from.split("/").slice(0, -1)
    for (const part of to.replace(/^\//, "").split("/")) {
      if (part === "..") base.pop()
      else if (part !== ".") base.push(part)
    }
    return base.join("/")
  }

  /** A module of the mini program, run once. An independent subpackage has only its own. */
  _require(path, from, registers = {}) {
    const source = this.files[`${path}.js`]
    const own = this._package(from)
    if (source === undefined || (own.independent && this._package(path) !== own)) {
      throw new Error(`module '${path}.js' is not defined, required by '${from}'`)
    }
    const known = this.modules.get(path)
    if (known) return known.exports
    const module = { exports: {} }
    this.modules.set(path, module)
    const require = (to) => this._require(this._resolve(path, to).replace(/\.js$/, ""), path, registers)
    const scope = { require, module, exports: module.exports, wx: this.wx, console, ...registers, ...this._globals() }
    const names = [...Object.keys(scope), ...ABSENT]
    new Function(...names, `${source}\n//# sourceURL=miniprogram/${path}.js`)(...names.map((each) => scope[each]))
    return module.exports
  }

  _globals() {
    return {
      App: (options) => {
        this.app = options
        if (options.onLaunch) this.run(() => options.onLaunch(this.wx.getLaunchOptionsSync()))
        if (options.onShow) this.run(() => options.onShow(this.wx.getLaunchOptionsSync()))
      },
      getApp: ({ allowDefault } = {}) => this.app ?? (allowDefault ? {} : undefined),
      getCurrentPages: () => this.pages.map((page) => page.instance),
    }
  }
}
