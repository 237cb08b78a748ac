// The chat, kept up by a stream of events; the panels beside it are in files of their own.

import { drawCard, follow } from "./page_card.js";
import { drawFaults, drawForm, openDefault } from "./page_forms.js";
import { arrange, avatar, chinese, look, nameIn, node, reading, say, world, write } from "./page_elements.js";
import { speak, t, time } from "./page_texts.js";

const SHOWN = 60, NEAR_THE_END = 80;
const $ = id => document.getElementById(id);
const bubbles = new Map(), messages = new Map();
let said = new Set(), connected = null;

// The chat

function cover(id) {
  const seed = [...id].reduce((sum, each) => (sum * 31 + each.codePointAt(0)) % 9973, 7);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const part = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    svg.append(made);
  };
  svg.setAttribute("viewBox", "0 0 250 140");
  svg.setAttribute("preserveAspectRatio", "xMidYMid slice");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `cover p${seed % 6}`);
  part("rect", { width: 250, height: 140, class: "sky" });
  part("circle", { cx: 60 + (seed % 130), cy: 46, r: 22, class: "sun" });
  const high = 70 + (seed % 20);
  part("path", { d: `M0 ${high}C50 ${high - 34} 90 ${high + 24} 140 ${high}S220 ${high - 26} 250 ${high - 4}V140H0Z`, class: "far" });
  part("path", { d: `M0 ${high + 32}C40 ${high + 8} 100 ${high + 52} 150 ${high + 24}S230 ${high + 34} 250 ${high + 16}V140H0Z`, class: "near" });
  return svg;
}

function bubble(card) {
  const who = node("span", { className: "who" }), title = node("span", { className: "title", lang: "zh-CN" });
  const subtitle = chinese("span", "subtitle"), as = node("small", { className: "as" });
  const foot = node("span", { className: "foot" }, node("i", { className: "dot" }), "livecard");
  const button = node("button", { type: "button", className: "card" }, title, cover(card.activity_id), subtitle.element, foot);
  button.addEventListener("click", () => choose(card.activity_id));
  const clock = node("time", { className: "clock" }), side = node("div", { className: "side" }, who, button, as);
  const element = node("li", { className: "message" }, clock, side);
  element.dataset.activity = card.activity_id;
  return { element, show: now => showBubble({ element, who, title, subtitle, as, button, clock, side }, now) };
}

function showBubble(part, card) {
  const publisher = card.publisher ? nameIn(card, card.publisher) : t("somebody");
  if (part.who.textContent !== publisher) {
    part.element.querySelector(".avatar")?.remove();
    part.side.before(avatar(publisher, card.publisher ?? "?"));
  }
  write(part.who, publisher);
  write(part.title, card.title || card.activity_id);
  write(part.clock, card.at ? time(card.at) : "");
  const { text, who, done } = reading(card);
  part.subtitle.show(text);
  part.subtitle.element.className = `subtitle ${look(text, done)}`;
  write(part.as, who && world.viewer === "participant" ? t("readAs", nameIn(card, who)) : "");
  part.button.classList.toggle("over", card.target_state === 3);
  part.button.setAttribute("aria-pressed", String(card.activity_id === world.chosen));
}

function messagesOf(card) {
  const counts = {};
  return card.chat.map(({ at, text }) => {
    const key = `${card.activity_id} ${at} ${text} ${(counts[at + text] = (counts[at + text] ?? 0) + 1)}`;
    if (!messages.has(key)) {
      const line = chinese("span", "pill");
      messages.set(key, { key, at, text, line, element: node("li", { className: "system" }, line.element) });
    }
    return messages.get(key);
  });
}

function drawChat() {
  const talk = $("talk"), cards = [...world.cards.values()];
  const atTheEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < NEAR_THE_END;
  const items = [], heard = new Set(), news = [];
  for (const card of cards) {
    if (!bubbles.has(card.activity_id)) bubbles.set(card.activity_id, bubble(card));
    const { element, show } = bubbles.get(card.activity_id);
    show(card);
    items.push({ at: card.at, element });
    for (const message of messagesOf(card)) {
      message.line.show(message.text);
      heard.add(message.key);
      if (!said.has(message.key)) news.push(message.text);
      items.push({ at: Math.max(message.at, card.at), element: message.element });
    }
  }
  items.sort((one, other) => one.at - other.at);
  arrange(talk, items.map(each => each.element));
  for (const key of messages.keys()) if (!heard.has(key)) messages.delete(key);
  for (const id of bubbles.keys()) if (!world.cards.has(id)) bubbles.delete(id);
  if (said.size && news.length) say(news.join("；"));
  said = heard.size ? heard : new Set([""]);
  $("empty").hidden = cards.length > 0;
  talk.hidden = cards.length === 0;
  write($("people"), t("members", Object.keys(world.means.people).length));
  if (atTheEnd) talk.scrollTop = talk.scrollHeight;
  if (news.length && narrow() && document.body.dataset.view === "chat") window.scrollTo(0, document.body.scrollHeight);
}

// Everything

function choose(id) {
  world.chosen = id;
  draw();
  if (narrow()) go("card");
}

/** Whether one view is shown at a time. */
function narrow() {
  return getComputedStyle(document.querySelector(".tabs")).display !== "none";
}

function go(view) {
  document.body.dataset.view = view;
  for (const each of document.querySelectorAll("[data-goto]"))
    each.setAttribute("aria-pressed", String(each.dataset.goto === view));
  if (narrow()) window.scrollTo(0, view === "chat" && world.cards.size ? document.body.scrollHeight : 0);
  if (view === "card") $("card-title").focus({ preventScroll: true });
}

function draw() {
  if (world.cards.has(world.wanted)) [world.chosen, world.wanted] = [world.wanted, null];
  if (!world.cards.has(world.chosen)) world.chosen = [...world.cards.keys()].at(-1) ?? null;
  drawChat();
  drawCard();
  drawForm();
  drawFaults();
  const state = connected === null ? t("connecting") : connected ? `${t("live")} · ${t("cards", world.total)}` : t("lost");
  write($("live"), state);
  $("live").className = connected === false ? "bad" : connected ? "good" : "";
}

function put(card) {
  follow(world.cards.get(card.activity_id), card);
  world.cards.set(card.activity_id, card);
  if (world.cards.size > SHOWN) world.cards.delete(world.cards.keys().next().value);
}

function listen() {
  const stream = new EventSource("control/stream");
  const on = (name, take) => stream.addEventListener(name, ({ data }) => {
    const told = JSON.parse(data);
    world.total = told.total;
    take(told);
    connected = true;
    draw();
  });
  on("snapshot", ({ cards }) => {
    for (const id of [...world.cards.keys()]) if (!cards.some(each => each.activity_id === id)) world.cards.delete(id);
    cards.forEach(put);
  });
  on("card", ({ card }) => put(card));
  on("faults", ({ faults }) => { world.faults = faults; });
  on("means", ({ means }) => { world.means = means; });
  stream.addEventListener("error", () => {
    connected = false;
    draw();
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

for (const each of document.querySelectorAll("[data-language]"))
  each.addEventListener("click", () => { speak(each.dataset.language); draw(); });
for (const each of document.querySelectorAll("[data-goto]")) each.addEventListener("click", () => go(each.dataset.goto));
for (const each of document.querySelectorAll("[name=viewer]"))
  each.addEventListener("change", () => { world.viewer = each.value; draw(); });
$("first").addEventListener("click", () => openDefault($("first")));
document.addEventListener("opened", ({ detail }) => { world.wanted = detail; draw(); go("chat"); });

world.viewer = document.querySelector("[name=viewer]:checked").value;
speak();
go("chat");
draw();
listen();
