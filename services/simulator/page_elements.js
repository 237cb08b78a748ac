// Small parts that the page is made of.

import { gloss, t } from "./page_texts.js";

/** Everything the page knows: cards by id, what its buttons can do, who looks, which card is chosen. */
export const world = {
  cards: new Map(), means: { gateway: undefined, apps: [], people: {} }, faults: [], total: 0,
  viewer: "participant", chosen: null, wanted: null, pending: new Map(), took: new Map(),
};

export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Bring the children of a list to these, in this order, without touching those that are in place. */
export function arrange(list, wanted) {
  wanted.forEach((element, place) => {
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
  });
  while (list.children.length > wanted.length) list.lastChild.remove();
}

/** Write a text only where it is another: what is unchanged is announced to nobody. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function nameIn(card, id) {
  const names = [card.names, world.means.people].find(each => Object.hasOwn(each, id) && each[id]);
  return names ? names[id] : id; // nobody is called `constructor` but who says so
}

export function avatar(name, id) {
  const face = node("span", { className: `avatar c${[...id].reduce((sum, each) => sum + each.codePointAt(0), 0) % 6}` });
  face.setAttribute("aria-hidden", "true");
  const letters = [...name.replace(/^gp-/, "")];
  face.textContent = id && letters.length ? (/[\u4e00-\u9fff]/.test(letters.at(-1)) ? letters.at(-1) : letters[0].toUpperCase()) : "…";
  return face;
}

/** A line of WeChat's, with its gloss; `show` changes both. */
export function chinese(tag, className) {
  const text = node("span", { lang: "zh-CN" }), meaning = node("small", { className: "gloss" });
  const element = node(tag, { className }, text, meaning);
  return {
    element,
    show(what) {
      write(text, what);
      write(meaning, gloss(what));
    },
  };
}

/** How a subtitle is coloured. */
export function look(text, done) {
  if (text === "已结束") return "over";
  if (text === "即将截止") return "near";
  return done || /^(?:已|[1-9]\d*人)/.test(text) ? "good" : "calm";
}

/** Who takes part, as far as the chat knows. */
export function participantsOf(card) {
  const known = Object.keys(card.viewers.participants);
  if (card.choose !== "everyone" || card.target_state === 3) return known;
  return [...new Set([...known, ...Object.keys(world.means.people)])];
}

/** What the chosen viewer reads: the text, whose it is, and whether that one is done. */
export function reading(card) {
  const { publisher, participants, others } = card.viewers;
  if (world.viewer === "publisher") return { text: publisher, who: card.publisher, done: false };
  const [first] = Object.keys(participants);
  if (world.viewer === "participant" && first !== undefined)
    return { text: participants[first], who: first, done: card.done.includes(first) };
  return { text: others, who: null, done: false };
}

export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Ask the simulator. What it refuses is an Error with one sentence. */
export async function ask(method, path, body) {
  let answer, told = {};
  try {
    answer = await fetch(path, {
      method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body),
    });
    told = await answer.json();
  } catch {
    if (!answer) throw new Error(t("unreachable"));
  }
  if (!answer.ok) throw new Error(told.error ?? `HTTP ${answer.status}`);
  return told;
}

/** Let a button do something that takes a while: it cannot be pressed twice, and tells what went wrong. */
export async function busy(button, answer, work) {
  button.setAttribute("aria-disabled", "true");
  answer.classList.remove("bad");
  try {
    await work();
  } catch (error) {
    answer.classList.add("bad");
    write(answer, error.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

export function free(button) {
  return button.getAttribute("aria-disabled") !== "true" && !button.disabled;
}
