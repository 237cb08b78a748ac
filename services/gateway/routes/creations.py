"""Creating: an id of WeChat's or one that the caller has, and the activity's `opened` through the outbox."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post

from contracts.events import OPENED, Room
from services.gateway.asking import new_activity_id
from services.gateway.bodies import body_of
from services.gateway.creation import Created, Creation, CreationData, read_creation
from services.gateway.keys import Caller
from services.gateway.once import Asked, Keep, Reply, reply_once
from services.gateway.outgoing import event_row, new_event_id
from services.gateway.parts import Gateway, TheCaller, TheGateway
from services.gateway.problems import Problem
from services.gateway.times import moment
from services.store.pages import PENDING_OR_DONE
from services.store.ports import Tx
from services.store.rows import Announced, OutboxRow
from services.transactions.announce import announce

PAGE = 500
"""Members that are read at a time."""
EXAMPLE = {
    "appid": "wx1",
    "template": "complete",
    "title": "Team building",
    "room": {"opengid": "g-1"},
    "participants": ["gp-alex", "gp-bob"],
    "deadline": "2026-11-21T18:00:00Z",
}
BOTH_OR_NEITHER = {
    "if": {"required": ["activity_id"], "properties": {"activity_id": {"type": "string"}}},
    "then": {"required": ["expires_at"], "properties": {"expires_at": {"type": "string"}}},
    "else": {"properties": {"expires_at": {"type": "null"}}},
}
"""Of `activity_id` and `expires_at`, as a JSON Schema."""


@post(
    "",
    status_code=201,
    opt={"scope": "write", "body": CreationData, "rule": BOTH_OR_NEITHER, "example": EXAMPLE},
    summary="Create an activity and its card",
)
async def create_activity(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller
) -> Response[Created]:
    """An activity with an id of WeChat's, or with one that the caller has."""
    return (await create(Asked.of(request, await body_of(request)), gateway, caller)).response()


async def create(asked: Asked, gateway: Gateway, caller: Caller) -> Reply:
    """WeChat is asked before the transaction, never inside: a process killed between loses an id that nobody
    has seen, and one killed after the commit answers the same again to the same `Idempotency-Key`."""

    async def work(keep: Keep) -> Reply:
        creation = read_creation(asked.body)
        appid = creation.opened.appid
        if not caller.owns(appid):
            raise Problem(403, f"the key {caller.name!r} is none of the app {appid!r}")
        activity_id, expires_at = creation.activity_id, creation.opened.expires_at
        if activity_id is None:
            made = await new_activity_id(gateway, appid)
            activity_id, expires_at = made.activity_id, made.expires_at
        return await _announce(
            gateway, caller, creation, Announced(activity_id, appid, creation.opened.title, expires_at), keep
        )

    reply = await reply_once(asked, gateway, caller, work)
    gateway.relay.kick()
    return reply


async def _announce(
    gateway: Gateway, caller: Caller, creation: Creation, announced: Announced, keep: Keep
) -> Reply:
    activity_id, expires_at = announced.activity_id, announced.expires_at
    event_id = new_event_id(gateway.chance)
    data = creation.data(expires_at)
    listed = await _listed(gateway, creation)

    def opening(now: int) -> OutboxRow:
        return event_row(caller, event_id, OPENED, activity_id, now, data)

    async def last(tx: Tx) -> Reply:
        menu = creation.share_menu(activity_id, listed)
        created = Created(activity_id, moment(expires_at), menu, creation.opened.ignored)
        return await keep(tx, Reply.of(201, created))

    reply = await announce(gateway.store, announced, opening, last)
    if reply is None:
        raise Problem(409, "there is an activity with this activity_id already: an id is for one card")
    return reply


async def _listed(gateway: Gateway, creation: Creation) -> tuple[str, ...]:
    """Who takes part: whom the request names, or the members of the card that this one continues, as far as
    they are known now. Of a card that it may not continue nothing is told; the machine refuses it."""
    opened, earlier = creation.opened, creation.takes_over
    if earlier is None:
        return opened.participants
    seen = await gateway.store.show(earlier)
    room = opened.room or Room()
    if seen is None or (seen.card.appid, seen.opengid, seen.open_single_roomid) != (
        opened.appid,
        room.opengid,
        room.open_single_roomid,
    ):
        return ()
    listed: list[str] = []
    while page := await gateway.store.members_page(
        earlier, listed[-1] if listed else "", PAGE, PENDING_OR_DONE
    ):
        listed += [each.group_openid for each in page.members]
        if len(page.members) < PAGE:
            break
    return tuple(listed)


router = Router("/v1/activities", route_handlers=[create_activity])
