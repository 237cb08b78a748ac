// What a page shows: its wxml, mounted by glass-easel, the platform's own component framework; in node on no
// backend at all, in a browser on its DOM.

// The built-in components that need no more than their content: what skyline draws otherwise (scroll-view, swiper)
// stands here as a plain box.
export const BUILT_IN = "built-in"
const PLAIN = [
  "view", "text", "button", "scroll-view", "label", "form", "block-view", "icon", "open-data-list", "open-data-item",
  "sticky-header", "sticky-section", "list-view", "list-builder", "grid-view", "navigation-bar", "page-container",
  "picker-view", "rich-text", "checkbox-group", "radio-group", "swiper", "swiper-item", "navigator", "progress",
]
const VALUED = {
  input: "input", textarea: "input", switch: "change", picker: "change", slider: "change", checkbox: "change", radio: "change",
}
const PROPERTIES = {
  button: { disabled: Boolean, loading: Boolean, openType: String, type: String, size: String, formType: String },
  image: { src: String, mode: String },
  "open-data-list": { type: String, members: Array },
  "open-data-item": { type: String, member: String },
}
const VALUE = { value: null, checked: null, disabled: Boolean, placeholder: String, maxlength: null, type: String }

/** The wxml of a page or component as the framework takes it. */
export function template(kit, path, wxml) {
  const groupList = new Function(`return ${kit.generate(path, wxml)}`)()
  return { groupList, content: groupList[path], fallbackListenerOnNativeNode: true }
}

/** An environment in which pages and components can be defined, with the built-in ones there. */
export function codeSpace(kit) {
  const env = new kit.adapter.MiniProgramEnv()
  const space = env.getGlobalCodeSpace().getComponentSpace()
  const content = template(kit, BUILT_IN, "<slot />")
  const define = (is, properties, observers) =>
    space.define(is).template(content).definition({ properties, observers }).registerComponent()
  const builtIn = {}
  for (const name of [...PLAIN, "image", ...Object.keys(VALUED)]) {
    builtIn[name] = define(name, PROPERTIES[name] ?? (name in VALUED ? VALUE : {}), mirrors(name))
  }
  const code = env.createCodeSpace("", true)
  for (const [name, definition] of Object.entries(builtIn)) code.getComponentSpace().setGlobalUsingComponent(name, definition)
  return { env, code }
}

// What the DOM's own element of the same name has to know; without a DOM there is none.
function mirrors(name) {
  const set = (field) =>
    function (value) {
      const element = this.getBackendElement?.() ?? this._$?.getBackendElement()
      if (element && "setAttribute" in element && globalThis.document) mirror(element, field, value)
    }
  if (name === "button") return { disabled: set("disabled") }
  if (name === "image") return { src: set("src") }
  if (name in VALUED) return { value: set("value"), checked: set("checked"), placeholder: set("placeholder"), disabled: set("disabled") }
  return {}
}

function mirror(element, field, value) {
  if (field === "disabled") element.toggleAttribute("disabled", Boolean(value))
  else if (value !== null && value !== undefined) element[field] = value
}

/** The elements of a page that is mounted, in the order of the page. */
export function elements(kit, page) {
  const { ElementIterator, ElementIteratorType, Element } = kit.glassEasel
  return [...ElementIterator.create(page, ElementIteratorType.ComposedDescendantsRootFirst, Element)]
}

/** What an element reads, its children's texts together. */
export function text(kit, element) {
  const { ElementIterator, ElementIteratorType, TextNode } = kit.glassEasel
  const found = []
  for (const node of ElementIterator.create(element, ElementIteratorType.ComposedDescendantsRootFirst, Object)) {
    if (node instanceof TextNode) found.push(node.textContent.trim())
  }
  return found.filter(Boolean).join(" ")
}

/** A tap, or another event, as the platform sends it. */
export function trigger(kit, element, name, detail = {}, options = { bubbles: true, composed: true, capturePhase: true }) {
  kit.glassEasel.Event.triggerEvent(element, name, detail, options)
}
