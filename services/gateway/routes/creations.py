"""Creating: an id of WeChat's or one that the caller has, and the activity's `opened` through the outbox."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post

from contracts.events import OPENED, Opened, Room
from contracts.tracing import Carried, of_request
from services.gateway.asking import new_activity_id
from services.gateway.bodies import body_of
from services.gateway.creation import Created, Creation, CreationData, read_creation
from services.gateway.dependencies import Gateway, TheCaller, TheGateway
from services.gateway.keys import Caller
from services.gateway.once import Asked, Keep, Reply, reply_once
from services.gateway.outgoing import new_event_key
from services.gateway.ownership import check_app
from services.gateway.problems import Problem, unprocessable
from services.gateway.times import moment
from services.store.pages import PENDING_OR_DONE
from services.store.ports import Tx
from services.store.rows import Announced, OutboxRow
from services.transactions.announce import announce
from services.transactions.outgoing import event_row
from services.transactions.people import MOST_CARRIED, TOO_LARGE, members_of

PAGE = 500
"""Members that are read at a time."""
PAST = "this time is past, so the id is dead: leave out activity_id and expires_at, and WeChat gives another"
TAKEN = (
    "there is an activity with this activity_id already, or events on Kafka wait for one: an id is for one "
    "card, so leave out activity_id and expires_at, and WeChat gives another"
)
UNKNOWN_PREDECESSOR = (
    "app {appid!r} has no activity of this id: name one that is created or open already, or leave it out. "
    "Once there is one, send this again under a new Idempotency-Key"
)
ANOTHER_ROOM = (
    "that activity has another room, or one of the two has none: give the `room` that it was created with, "
    "or leave `continues` out"
)
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
    summary="Create an activity, and get what a page shares its card with",
)
async def create_activity(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller
) -> Response[Created]:
    """WeChat is asked for an `activity_id`, unless the body has one with its `expires_at`; the activity is
    opened, and the answer has what the page gives to `wx.updateShareMenu`. Its `state` is `opening` until
    the event is back from Kafka. Send an `Idempotency-Key`: without one a repeat makes another activity."""
    asked, trace = Asked.of(request, await body_of(request)), of_request(request.scope["headers"])
    return (await create(asked, gateway, caller, trace)).response()


async def create(asked: Asked, gateway: Gateway, caller: Caller, trace: Carried | None = None) -> Reply:
    """WeChat is asked before the transaction, never inside: a process killed between loses an id that nobody
    has seen, and one killed after the commit answers the same again to the same `Idempotency-Key`."""

    async def work(keep: Keep) -> Reply:
        creation = read_creation(asked.body)
        appid = creation.opened.appid
        check_app(caller, appid)
        await _check_continues(gateway, creation.opened)
        activity_id, expires_at = creation.activity_id, creation.opened.expires_at
        if activity_id is None:
            made = await new_activity_id(gateway, appid)
            activity_id, expires_at = made.activity_id, made.expires_at
        room = creation.opened.room or Room()
        where = room.opengid, room.open_single_roomid
        announced = Announced(activity_id, appid, creation.opened.title, expires_at, *where)
        return await _announce(gateway, caller, creation, announced, trace, keep)

    reply = await reply_once(asked, gateway, caller, work)
    gateway.relay.kick()
    return reply


async def _announce(  # noqa: PLR0917 (what a request comes to has so many parts)
    gateway: Gateway,
    caller: Caller,
    creation: Creation,
    announced: Announced,
    trace: Carried | None,
    keep: Keep,
) -> Reply:
    activity_id, expires_at = announced.activity_id, announced.expires_at
    key = new_event_key(gateway.chance, caller)
    data = creation.data(expires_at)
    listed = await _listed(gateway, creation)

    def opening(now: int) -> OutboxRow:
        if creation.activity_id is not None and now >= expires_at:
            raise unprocessable("expires_at", PAST)
        return event_row(activity_id, key, OPENED, data, time=now, now=now, trace=trace)

    async def last(tx: Tx) -> Reply:
        menu = creation.share_menu(activity_id, listed)
        created = Created(activity_id, moment(expires_at), menu, creation.opened.ignored)
        return await keep(tx, Reply.of(201, created))

    reply = await announce(gateway.store, announced, opening, last)
    if reply is None:
        raise Problem(409, TAKEN)
    return reply


async def _check_continues(gateway: Gateway, opened: Opened) -> None:
    """Raise `Problem` (422) for a predecessor for which the machine would refuse the opening; nothing is told
    of another app's. Over HTTP one is known by the time its successor is created: it is announced."""
    if opened.continues is None:
        return
    seen = await gateway.store.show(opened.continues)
    if seen is None or seen.card.appid != opened.appid:
        raise unprocessable("continues", UNKNOWN_PREDECESSOR.format(appid=opened.appid))
    room = opened.room or Room()
    if (seen.opengid, seen.open_single_roomid) != (room.opengid, room.open_single_roomid):
        raise unprocessable("continues", ANOTHER_ROOM)
    if members_of(seen.activity) > MOST_CARRIED:
        raise unprocessable("continues", TOO_LARGE)


async def _listed(gateway: Gateway, creation: Creation) -> tuple[str, ...]:
    """Who takes part: whom the request names, or the members of the card that this one continues, as far as
    they are known now."""
    earlier = creation.takes_over
    if earlier is None:
        return creation.opened.participants
    listed: list[str] = []
    while page := await gateway.store.members_page(
        earlier, listed[-1] if listed else "", PAGE, PENDING_OR_DONE
    ):
        listed += [each.group_openid for each in page.members]
        if len(page.members) < PAGE:
            break
    return tuple(listed)


router = Router("/v1/activities", route_handlers=[create_activity])
