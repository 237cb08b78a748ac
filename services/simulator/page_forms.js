// The form that opens an activity, and the switches that make WeChat go wrong.

import { arrange, ask, busy, free, node, say, world, write } from "./page_elements.js";
import { t } from "./page_texts.js";

const SEND = "/cgi-bin/message/wxopen/chattoolmsg/send";
const PRESETS = {
  busy: { action: { errcode: -1 } },
  away: { action: { http: 502, body: "bad gateway" } },
  lost: { action: { apply_then_cut: true }, count: 1 },
  slow: { action: { latency: 2 } },
  limit: { action: { errcode: 45011 }, count: 1 },
};
const $ = id => document.getElementById(id);
const form = $("open"), switches = new Map(), rules = new Map();
let drawn = "", titled = false;

// Opening

form.elements.title.addEventListener("input", () => { titled = true; });
form.addEventListener("change", drawForm);
form.addEventListener("submit", event => {
  event.preventDefault();
  if (free(form.querySelector("button"))) open(form.querySelector("button"));
});

/** Open what the form holds, as it stands. */
export function openDefault(button) {
  if (free(button)) open(button);
}

function wish() {
  const { title, appid, template, publisher, choose, deadline, close } = form.elements;
  const [seconds, notice] = deadline.value.split(",").map(Number);
  const listed = choose.value === "listed";
  const participants = [...form.querySelectorAll("#members input:checked")].map(each => each.value);
  if (listed && !participants.length) throw new Error(t("nobody"));
  return {
    appid: appid.value || "wx1", title: title.value.trim(), template: template.value, publisher: publisher.value,
    choose: choose.value, close_when_complete: listed && close.checked, ...(listed && { participants }),
    ...(seconds && { deadline: seconds, notice }),
  };
}

function open(button) {
  const answer = $("opened");
  return busy(button, answer, async () => {
    const asked = wish();
    write(answer, t("opening"));
    const { activity_id: id } = await ask("POST", "control/livecard/open", asked);
    write(answer, t("opened", asked.title));
    say(t("opened", asked.title));
    document.dispatchEvent(new CustomEvent("opened", { detail: id }));
  });
}

/** People and apps come with the stream; what was chosen stays. */
export function drawForm() {
  const { gateway, apps, people } = world.means, now = JSON.stringify(world.means);
  if (now !== drawn) {
    drawn = now;
    const entries = Object.entries(people);
    form.elements.publisher.replaceChildren(...entries.map(([id, name]) => node("option", { value: id }, name)));
    form.elements.appid.replaceChildren(...(apps.length ? apps : ["wx1"]).map(id => node("option", { value: id }, id)));
    $("apps").hidden = apps.length < 2;
    $("members").replaceChildren(...entries.map(([id, name], place) => node("label", {},
      node("input", { type: "checkbox", value: id, checked: place > 0 && place < 4 }), node("span", { lang: "zh-CN" }, name))));
  }
  if (!titled) form.elements.title.value = t("defaultTitle");
  const listed = form.elements.choose.value === "listed";
  $("members").hidden = $("closing").hidden = !listed;
  for (const each of [form.querySelector("button"), $("first")]) each.disabled = !gateway;
  for (const each of document.querySelectorAll(".needs")) each.hidden = gateway !== null;
}

// Faults

function struckOf(rule) {
  return rule?.struck ? t("struck", rule.struck) : "";
}

function preset(name) {
  const id = `page-${name}`, title = node("b"), text = node("span"), struck = node("small", { className: "struck" });
  const button = node("button", { type: "button", className: "switch" }, node("span", { className: "about" }, title, text, struck), node("i"));
  button.setAttribute("role", "switch");
  button.addEventListener("click", () => free(button) && busy(button, $("fault-answer"), async () => {
    write($("fault-answer"), "");
    if (button.getAttribute("aria-checked") === "true") await lift(id);
    else await ask("POST", "control/faults", { ...PRESETS[name], id, match: { path: SEND } });
  }));
  return { id, name, title, text, struck, button, element: node("li", {}, button) };
}

function lift(id) {
  return ask("DELETE", `control/faults?id=${encodeURIComponent(id)}`);
}

function other(id) {
  const text = node("code"), struck = node("small", { className: "struck" }), button = node("button", { type: "button", className: "plain" });
  button.addEventListener("click", () => free(button) && busy(button, $("fault-answer"), async () => {
    write($("fault-answer"), "");
    await lift(id);
    $("faults-title").focus();
  }));
  return { text, struck, button, element: node("li", {}, text, struck, button) };
}

/** The switches of the page's own faults, and every other rule in force. */
export function drawFaults() {
  const inForce = new Map(world.faults.map(rule => [rule.id, rule]));
  arrange($("presets"), Object.keys(PRESETS).map(name => {
    if (!switches.has(name)) switches.set(name, preset(name));
    const part = switches.get(name), [title, text] = t("faults")[name], rule = inForce.get(part.id);
    write(part.title, title);
    write(part.text, text);
    write(part.struck, struckOf(rule));
    part.button.setAttribute("aria-checked", String(Boolean(rule)));
    inForce.delete(part.id);
    return part.element;
  }));
  for (const id of rules.keys()) if (!inForce.has(id)) rules.delete(id);
  arrange($("rules"), [...inForce.values()].map(rule => {
    if (!rules.has(rule.id)) rules.set(rule.id, other(rule.id));
    const part = rules.get(rule.id);
    write(part.text, `${rule.id} ${JSON.stringify(rule.action)}`);
    write(part.struck, struckOf(rule));
    write(part.button, t("takeAway"));
    part.button.setAttribute("aria-label", t("takeAwayRule", rule.id));
    return part.element;
  }));
}
