// The part of WeChat that a phone's calls reach: the simulator, and what was said in the chats.

import { Fail } from "./rules.mjs"

export class Chats {
  /** `fetch` as the browser's, for the simulator at `url`. `said`: what the pages sent, oldest first. */
  constructor(url, appid, fetch) {
    Object.assign(this, { url, appid, fetch, said: [] })
  }

  async ask(path, body) {
    const answer = await this.fetch(this.url + path, body && { method: "POST", body: JSON.stringify(body) })
    const told = await answer.json()
    if (!answer.ok) throw new Fail(told.error ?? `the simulator answered ${answer.status}`)
    return told
  }

  async code(openid) {
    return (await this.ask("/control/codes", { appid: this.appid, openid })).code
  }

  /** What only this user's session key opens. */
  async sealed(call, openid, room) {
    return await this.ask("/control/page", { appid: this.appid, ...name(room), openid, call })
  }

  /** Who is in a chat: openid → group_openid. */
  async members(room) {
    const { rooms } = await this.ask("/control/rooms")
    const found = rooms.find((each) => each.opengid === room || each.open_single_roomid === room)
    if (!found) throw new Fail("65206 the user is not in the group")
    return found.members
  }

  /** A card came into the chat. */
  async share(menu, template, title, room, openid) {
    const members = await this.members(room)
    await this.ask("/control/activities", {
      activity_id: menu.activityId,
      appid: this.appid,
      template,
      title,
      publisher: members[openid],
      choose: menu.chooseType === 1 ? "listed" : "everyone",
      participants: menu.participant ?? [],
      members: Object.values(members),
      names: Object.fromEntries(Object.entries(members).map(([who, member]) => [member, who.replace("o-", "")])),
    })
  }

  say(room, kind, what) {
    this.said.push({ room, kind, ...what })
  }
}

/** A room under its kind of id; those of two people begin with "s-" here. */
export function name(room) {
  return room.startsWith("s-") ? { open_single_roomid: room } : { opengid: room }
}
