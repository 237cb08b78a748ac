"""What happened to an activity: its events, published through the outbox."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, Router, post

from contracts.events import ADDED, CLOSED, COMPLETED, RESCHEDULED
from contracts.reading import fields_ignored
from contracts.tracing import of_request
from services.gateway.bodies import body_of, read_event
from services.gateway.dependencies import ActivityId, Gateway, TheCaller, TheGateway
from services.gateway.keys import Caller
from services.gateway.once import Keep, Reply, once
from services.gateway.outgoing import new_event_key, normal
from services.gateway.ownership import owned
from services.store.rows import Writes
from services.transactions.outgoing import event_row


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The event that was made. `ignored`: fields of the request that its type does not have."""

    event_id: str
    ignored: tuple[str, ...] = ()


async def publish(
    request: Request[Any, Any, Any], gateway: Gateway, caller: Caller, activity_id: str, kind: str
) -> Response[Any]:
    """Take one event for an activity of the caller's; it goes out through the outbox."""
    body, trace = await body_of(request), of_request(request.scope["headers"])
    await owned(gateway.store, caller, activity_id)

    async def work(keep: Keep) -> Reply:
        read_event(kind, body)
        key = new_event_key(gateway.chance, caller)
        async with gateway.store.transaction() as tx:
            now = await tx.now()
            row = event_row(activity_id, key, kind, normal(kind, body), time=now, now=now, trace=trace)
            await tx.write(Writes(outbox=[row]))
            accepted = Accepted(key[1], fields_ignored(kind, body))
            return await keep(tx, Reply.of(202, accepted))

    answer = await once(request, body, gateway, caller, work)
    gateway.relay.kick()
    return answer


@post(
    "/complete",
    status_code=202,
    opt={"scope": "write", "event": COMPLETED, "example": {"members": ["gp-alex", "gp-bob"]}},
    summary="Say that members are done",
)
async def complete(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller, activity_id: ActivityId
) -> Response[Accepted]:
    """Members are done."""
    return await publish(request, gateway, caller, activity_id, COMPLETED)


@post(
    "/participants",
    status_code=202,
    opt={"scope": "write", "event": ADDED, "example": {"members": ["gp-carol"]}},
    summary="List more members",
)
async def participants(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller, activity_id: ActivityId
) -> Response[Accepted]:
    """More members are listed."""
    return await publish(request, gateway, caller, activity_id, ADDED)


@post(
    "/reschedule",
    status_code=202,
    opt={"scope": "write", "event": RESCHEDULED, "example": {"deadline": "2026-11-21T18:00:00Z"}},
    summary="Move the deadline",
)
async def reschedule(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller, activity_id: ActivityId
) -> Response[Accepted]:
    """The deadline moves, or goes."""
    return await publish(request, gateway, caller, activity_id, RESCHEDULED)


@post(
    "/close",
    status_code=202,
    opt={"scope": "write", "event": CLOSED, "example": {"note": "enough"}},
    summary="End the activity",
)
async def close(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller, activity_id: ActivityId
) -> Response[Accepted]:
    """The activity ends now."""
    return await publish(request, gateway, caller, activity_id, CLOSED)


router = Router(
    "/v1/activities/{activity_id:str}", route_handlers=[complete, participants, reschedule, close]
)
