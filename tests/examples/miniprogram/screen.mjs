// What a page shows: its wxml, mounted by glass-easel, the platform's own component framework; in node on no
// backend at all, in a browser on its DOM.

// The built-in components that need no more than their content: what skyline draws otherwise (scroll-view, swiper)
// stands here as a plain box.
const PLAIN = ["view", "text", "button", "image", "scroll-view", "label", "form"]
// Those in which something is typed or chosen.
const VALUED = ["input", "textarea", "switch", "picker"]
const FLAG = { type: Boolean, value: false }
const PROPERTIES = {
  button: { disabled: FLAG, loading: FLAG, type: String, size: String, formType: String, openType: String, opengid: String, needShowEntrance: FLAG },
  image: { src: String, mode: String },
}
const VALUE = { name: String, value: null, checked: null, disabled: FLAG, placeholder: String, maxlength: null, type: String }

// Their wxml, by what they are; the platform fills the open-data-list's slot once for each member.
export const BUILT_IN = {
  "built-in/plain": "<slot />",
  "built-in/list": '<block wx:for="{{members}}" wx:key="*this"><slot index="{{index}}" /></block>',
  "built-in/item": "{{name}}",
}

/** The wxml of a page or component as the framework takes it. */
export function template(kit, path, wxml) {
  const groupList = new Function(`return ${kit.generate(path, wxml)}`)()
  return { groupList, content: groupList[path], fallbackListenerOnNativeNode: true }
}

/** An environment in which pages and components can be defined, with the built-in ones there. */
export function codeSpace(kit) {
  const env = new kit.adapter.MiniProgramEnv()
  const space = env.getGlobalCodeSpace().getComponentSpace()
  const define = (is, properties, observers, of = "plain", more = (definition) => definition) =>
    more(space.define(is).template(template(kit, `built-in/${of}`, BUILT_IN[`built-in/${of}`])))
      .definition({ properties, observers })
      .registerComponent()
  const builtIn = {
    "open-data-list": define("open-data-list", { type: String, members: Array }, {}, "list", (each) => each.options({ dynamicSlots: true })),
    "open-data-item": define("open-data-item", { type: String, index: Number }, {}, "item", (each) => each.lifetime("attached", tellName)),
  }
  for (const name of [...PLAIN, ...VALUED]) {
    builtIn[name] = define(name, PROPERTIES[name] ?? (VALUED.includes(name) ? VALUE : {}), mirrors(name))
  }
  const code = env.createCodeSpace("", true)
  for (const [name, definition] of Object.entries(builtIn)) code.getComponentSpace().setGlobalUsingComponent(name, definition)
  return { env, code }
}

// An open-data-item shows a person of its list: WeChat the name, this stage the id.
function tellName() {
  let list = this
  while (list && list.is !== "open-data-list") list = list.parentNode
  this.setData({ name: this.data.type === "userAvatar" ? "" : (list?.data.members[this.data.index] ?? "") })
}

// What the DOM's own element of the same name has to know; without a DOM there is none.
function mirrors(name) {
  const set = (field) =>
    function (value) {
      const element = this.getBackendElement()
      if (element && "setAttribute" in element && globalThis.document) mirror(element, field, value)
    }
  if (name === "button") return { disabled: set("disabled") }
  if (name === "image") return { src: set("src") }
  if (VALUED.includes(name)) return { value: set("value"), checked: set("checked"), placeholder: set("placeholder"), disabled: set("disabled") }
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

/** Types into an input, as `input` events tell it. */
export function type(kit, element, value) {
  element.typed = value
  trigger(kit, element, "input", { value }, { bubbles: false, composed: false })
}

/** An event of the DOM's, as the platform tells it. */
export function heard(kit, element, name, detail, options) {
  if (name === "input") type(kit, element, element.getBackendElement().value)
  else trigger(kit, element, name, detail, options)
}

/** What a form's fields hold, by name. */
export function fields(kit, form) {
  const inside = elements(kit, form).filter((each) => VALUED.includes(each.is))
  return Object.fromEntries(inside.map((each) => [each.data.name, each.typed ?? each.data.value ?? ""]))
}

/** A tap, or another event, as the platform sends it. */
export function trigger(kit, element, name, detail = {}, options = { bubbles: true, composed: true, capturePhase: true }) {
  kit.glassEasel.Event.triggerEvent(element, name, detail, options)
}
