// The card that was chosen: who reads what, and what each can do.

import { arrange, ask, avatar, busy, chinese, free, look, nameIn, node, participantsOf, say, world, write } from "./page_elements.js";
import { t, time } from "./page_texts.js";

const MEMBERS = 40;
const $ = id => document.getElementById(id);
const key = (id, member) => `${id}|${member}`;
let shown = null;

/** A card changed: whoever waited for it is told how long it took. */
export function follow(before, now) {
  const was = new Set(before?.done);
  for (const member of now.done) {
    const from = world.pending.get(key(now.activity_id, member));
    if (from === undefined || was.has(member)) continue;
    world.pending.delete(key(now.activity_id, member));
    const seconds = ((performance.now() - from) / 1000).toFixed(1);
    world.took.set(key(now.activity_id, member), seconds);
    say(t("finished", nameIn(now, member), seconds));
  }
  if (now.target_state === 3)
    for (const each of world.pending.keys()) if (each.startsWith(`${now.activity_id}|`)) world.pending.delete(each);
}

async function complete(card, members, button) {
  await busy(button, shown.answer, async () => {
    for (const each of members) world.pending.set(key(card.activity_id, each), performance.now());
    drawCard();
    write(shown.answer, "");
    try {
      await ask("POST", "control/livecard/complete", { activity_id: card.activity_id, members });
    } catch (error) {
      for (const each of members) world.pending.delete(key(card.activity_id, each));
      throw error;
    } finally {
      drawCard();
    }
  });
}

function row(id) {
  const name = node("span", { className: "name" }), role = node("small"), text = chinese("span", "reads");
  const state = node("small", { className: "state" });
  const button = node("button", { type: "button", className: "acts" });
  button.addEventListener("click", () => free(button) && complete(world.cards.get(world.chosen), [id], button));
  const who = node("span", { className: "person" }, name, role);
  return { element: node("li", {}, who, text.element, node("span", { className: "deed" }, state, button)), who, name, role, text, state, button };
}

function showRow(part, card, { id, name, role, text, asked }) {
  if (part.name.textContent !== name) {
    part.element.querySelector(".avatar")?.remove();
    part.element.prepend(avatar(name, id));
  }
  write(part.name, name);
  write(part.role, role);
  part.text.show(text);
  const done = card.done.includes(id), waits = world.pending.has(key(card.activity_id, id));
  const took = world.took.get(key(card.activity_id, id));
  part.text.element.className = `reads ${look(text, done)}`;
  const news = waits ? t("onItsWay") : done && asked ? (took ? t("took", took) : `✓ ${t("done")}`) : "";
  write(part.state, news);
  const offered = asked && !done && !waits && card.target_state !== 3;
  if (!offered && document.activeElement === part.button) onward(part);
  part.button.hidden = !offered;
  part.button.disabled = !world.means.gateway;
  const verb = t(card.template === "complete" ? "finish" : "join");
  write(part.button, verb);
  part.button.setAttribute("aria-label", t("finishFor", verb, name));
}

/** The focus goes on to the next button before this one disappears. */
function onward(part) {
  const all = [...$("card-body").querySelectorAll("button:not([hidden]):not([disabled])")];
  (all[all.indexOf(part.button) + 1] ?? $("card-title")).focus({ preventScroll: true });
}

function frame(id) {
  const part = {
    id, rows: new Map(), meta: node("p", { className: "meta" }), chip: node("span", { className: "chip" }), count: node("span"),
    list: node("ul", { className: "readers" }), answer: node("p", { className: "answer" }), heading: node("h3"),
    all: node("button", { type: "button", className: "acts" }), close: node("button", { type: "button", className: "acts plain" }),
    wrong: node("p", { className: "answer bad" }), calls: node("summary"), history: node("tbody"), head: node("tr"),
  };
  part.answer.setAttribute("role", "status");
  part.meta.append(part.chip, part.count, node("code", {}, id));
  part.bar = node("div", { className: "buttons" }, part.all, part.close);
  const table = node("table", {}, node("thead", {}, part.head), part.history);
  part.details = node("details", {}, part.calls, node("div", { className: "wide" }, table));
  part.all.addEventListener("click", () => {
    const card = world.cards.get(id);
    const rest = participantsOf(card).filter(each => !card.done.includes(each));
    if (free(part.all)) complete(card, rest, part.all);
  });
  part.close.addEventListener("click", () => free(part.close) && busy(part.close, part.answer, async () => {
    write(part.answer, t("closing"));
    await ask("POST", "control/livecard/close", { activity_id: id });
  }));
  return part;
}

/** How many take part: a stream names the first of very many. */
function count(card) {
  return Math.max(card.participants, participantsOf(card).length);
}

function lines(card) {
  const { publisher, participants, others } = card.viewers, everyone = card.choose === "everyone";
  const all = participantsOf(card), name = card.publisher ? nameIn(card, card.publisher) : t("somebody");
  return [
    { id: card.publisher ?? "", row: "publisher", name, role: t("publisher"), text: publisher, asked: false },
    ...all.slice(0, MEMBERS).map(id => (
      { id, row: `of ${id}`, name: nameIn(card, id), role: id, text: participants[id] ?? others, asked: true })),
    ...(count(card) > MEMBERS ? [{ id: "", row: "rest", name: t("rest", count(card) - MEMBERS), role: "", text: "…", asked: false }] : []),
    { id: "", row: "others", name: t("others"), role: t(everyone ? "roleEverybody" : "roleOthers"), text: others, asked: false },
  ];
}

export function drawCard() {
  const card = world.cards.get(world.chosen), body = $("card-body"), title = $("card-title");
  write(title, card ? card.title || card.activity_id : t("noCard"));
  title.lang = card ? "zh-CN" : document.documentElement.lang;
  if (!card) {
    shown = null;
    body.replaceChildren(node("p", { className: "hint" }, t("noCardText")));
    return;
  }
  if (shown?.id !== card.activity_id) {
    shown = frame(card.activity_id);
    body.replaceChildren(shown.meta, shown.heading, shown.list, shown.bar, shown.answer, shown.wrong, shown.details);
  }
  show(shown, card);
}

function show(part, card) {
  write(part.chip, t("states")[card.target_state]);
  part.chip.className = `chip s${card.target_state}`;
  const done = card.finished;
  write(part.count, card.choose === "listed" ? t("doneOf", done, count(card)) : t("doneCount", done));
  write(part.heading, t("reads"));
  arrange(part.list, lines(card).map(line => {
    if (!part.rows.has(line.row)) part.rows.set(line.row, row(line.id));
    showRow(part.rows.get(line.row), card, line);
    return part.rows.get(line.row).element;
  }));
  showButtons(part, card);
  const { repeated_posts: repeated, lowered } = card.violations;
  write(part.wrong, [repeated && t("repeated", repeated), lowered && t("lowered", lowered)].filter(Boolean).join(" · "));
  write(part.calls, t("calls", card.calls));
  arrange(part.head, [t("at"), t("state"), t("listedThen")].map(text => node("th", { scope: "col" }, text)));
  part.history.replaceChildren(...card.history.toReversed().map(call => node("tr", {},
    node("td", {}, time(call.at)), node("td", {}, t("states")[call.target_state]),
    node("td", {}, call.members.map(each => nameIn(card, each)).join(" ") || "–"))));
}

function showButtons(part, card) {
  const left = participantsOf(card).filter(each => !card.done.includes(each) && !world.pending.has(key(card.activity_id, each)));
  const ended = card.target_state === 3;
  if (ended && part.bar.contains(document.activeElement)) $("card-title").focus({ preventScroll: true });
  part.all.hidden = ended || left.length < 2 || card.participants > Object.keys(card.viewers.participants).length;
  part.close.hidden = ended;
  if (ended && part.answer.textContent === t("closing")) write(part.answer, "");
  part.all.disabled = part.close.disabled = !world.means.gateway;
  write(part.all, t("finishAll"));
  write(part.close, t("close"));
}
