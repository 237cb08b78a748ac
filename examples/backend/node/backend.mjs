// A group task from a Node backend (18 or newer), over livecard's gateway: no packages.
//
// Standard input is what the page posts to the backend: {"js_code", "encryptedData", "iv"}, from wx.login and
// wx.getChatToolInfo. Standard output is what the page gets, a line each.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const GATEWAY = process.env.GATEWAY_URL;
const HEADERS = { Authorization: `Bearer ${process.env.GATEWAY_KEY}`, "Content-Type": "application/json" };
const PAUSES = [1, 2, 4, 8, 16];

// GET, or POST a body. Every try has the same Idempotency-Key, so what was done is not done again.
// In production keep the key beside your own row before the first try, and a restart repeats nothing either.
async function call(path, body, key = randomUUID()) {
  const request = {
    method: body === undefined ? "GET" : "POST",
    headers: { ...HEADERS, "Idempotency-Key": key },
    body: JSON.stringify(body),
  };
  for (let tried = 0; ; tried++) {
    let pause = PAUSES[tried];
    try {
      const answer = await fetch(GATEWAY + path, { ...request, signal: AbortSignal.timeout(15_000) });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      const retryAfter = answer.headers.get("Retry-After"); // of 503, and of 409 where it is under way
      if (retryAfter === null || pause === undefined) throw new Refused(`${answer.status} ${path}: ${text}`);
      pause = Number(retryAfter);
    } catch (error) {
      if (error instanceof Refused || pause === undefined) throw error;
    }
    await sleep(pause * 1000);
  }
}

class Refused extends Error {}

// The events of a stream, type and data. After a cut it goes on behind the last one.
async function* follow(path) {
  const headers = { ...HEADERS };
  for (;;) {
    try {
      const answer = await fetch(GATEWAY + path, { headers });
      if (!answer.ok && !answer.headers.has("Retry-After")) {
        throw new Refused(`${answer.status} ${path}: ${await answer.text()}`);
      }
      let rest = "";
      let event = {};
      for await (const text of arrived(answer.body)) {
        const lines = (rest + text).split(/\r?\n/);
        rest = lines.pop();
        for (const line of lines) {
          const [name] = line.split(": ", 1);
          event[name] = line.slice(name.length + 2);
          if (line === "" && event.data) {
            if (event.id) headers["Last-Event-ID"] = event.id;
            yield [event.event, JSON.parse(event.data)];
            event = {};
          }
        }
      }
    } catch (error) {
      if (error instanceof Refused || error instanceof SyntaxError) throw error;
    }
    await sleep(1000);
  }
}

// A body's text as it comes, all of it: a stream that is cut forgets what nobody has read yet, so it is read
// at once, however long the reader takes.
function arrived(body) {
  const kept = new TransformStream({}, undefined, { highWaterMark: Infinity });
  const end = () => kept.writable.close().catch(() => {}); // closed already where the reader has left
  body.pipeTo(kept.writable, { preventAbort: true }).catch(end);
  return kept.readable.pipeThrough(new TextDecoderStream());
}

const page = JSON.parse(readFileSync(0, "utf8"));

// README begins
// Who is it, and in which chat? The page sent what wx.login and wx.getChatToolInfo gave it.
const session = await call("/v1/sessions", { appid: "wx1", js_code: page.js_code });
const sealed = { encryptedData: page.encryptedData, iv: page.iv };
const me = await call("/v1/rooms/bind", { session: session.session, ...sealed });

const activity = await call("/v1/activities", {
  appid: "wx1", template: "complete", title: "团建报名统计", room: me.room,
  publisher: me.group_openid,
  participants: [me.group_openid, "gp-bob"], // whom wx.selectGroupMembers gave the page
});
console.log(JSON.stringify(activity.share_menu)); // the page hands it to wx.updateShareMenu, and shares

const card = `/v1/activities/${encodeURIComponent(activity.activity_id)}`;
for await (const [type, change] of follow(`${card}/events`)) {
  if (type === "snapshot") { // from here on no change is missed; one after a cut may show all
    const { members } = await call(`${card}/members?state=done&limit=500`);
    if (members.some((who) => who.group_openid === me.group_openid && who.delivered === "confirmed")) break;
    await call(`${card}/complete`, { openids: [session.openid] });
  } else if (type === "livecard.card.delivered" && change.data.members.includes(me.group_openid)) {
    break; // WeChat confirmed it: the chat says so
  }
}

const missing = await call(`${card}/missing?entrance_path=/pages/task`);
console.log(JSON.stringify(missing.notify)); // the page hands it to wx.notifyGroupMembers
// README ends
