"""Gates of apps: whether cards may be delivered, and opening or closing one by hand."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import PathParameter
from msgspec import Meta

from contracts import wire
from contracts.times import parse_rfc3339
from services.gateway.acting import acting
from services.gateway.answers import GatesBody, gate_body
from services.gateway.bodies import Why, body_of, read_body
from services.gateway.dependencies import Gateway, TheCaller, TheGateway
from services.gateway.keys import Caller
from services.gateway.once import Keep, Reply, once
from services.gateway.problems import Problem, not_found, unprocessable
from services.store.operators import LONGEST_WHY
from services.transactions.gates import WrongTimeError, close_by_hand, open_by_hand

Appid = Annotated[str, PathParameter(description="The app's id, percent-encoded.")]


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until when (RFC 3339) a gate is to stay closed, and why."""

    until: wire.Time
    why: Annotated[str, Meta(min_length=1, max_length=LONGEST_WHY)]


CLOSING = {"until": "2026-11-28T18:00:00+08:00", "why": "the campaign was a mistake: nothing may go out"}


@get("/", opt={"scope": "operate"}, summary="The gates of this key's apps")
async def gates(caller: TheCaller, gateway: TheGateway) -> GatesBody:
    """Closed until when and why, for each app that ever opened an activity."""
    found, now = await gateway.store.gates_of(caller.appids)
    return GatesBody([gate_body(each, now, gateway.rules.longest_closing) for each in found])


@post("/{appid:str}/open", opt={"scope": "operate", "body": Why}, status_code=204, summary="Open a gate")
async def open_gate(
    request: Request[Any, Any, Any], appid: Appid, caller: TheCaller, gateway: TheGateway
) -> Response[None]:
    """Whatever closed it: the next call finds out. It closes again for an app without a secret here."""
    body = await body_of(request)
    await check_gate(gateway, caller, appid)

    async def work(keep: Keep) -> Reply:
        why = read_body(body, Why).why
        async with gateway.store.transaction() as tx:
            await open_by_hand(tx, [appid], acting(caller, why))
            return await keep(tx, Reply(204))

    return await once(request, body, gateway, caller, work)


@post(
    "/{appid:str}/close",
    opt={"scope": "operate", "body": Closing, "example": CLOSING},
    status_code=204,
    summary="Close a gate",
)
async def close_gate(
    request: Request[Any, Any, Any], appid: Appid, caller: TheCaller, gateway: TheGateway
) -> Response[None]:
    """No card of the app is delivered until then, or until somebody opens it. What is under way is finished,
    and what comes in meanwhile is kept: it goes out afterwards, in one plan a card."""
    body = await body_of(request)

    async def work(keep: Keep) -> Reply:
        closing = read_body(body, Closing)
        await check_gate(gateway, caller, appid)
        try:
            until = parse_rfc3339(closing.until)
        except ValueError:
            raise unprocessable(
                "until", "expected a time in RFC 3339, such as 2026-11-28T18:00:00Z"
            ) from None
        async with gateway.store.transaction() as tx:
            try:
                await close_by_hand(tx, [appid], until, acting(caller, closing.why))
            except WrongTimeError as error:
                raise Problem(409, str(error)) from error
            return await keep(tx, Reply(204))

    return await once(request, body, gateway, caller, work)


async def check_gate(gateway: Gateway, caller: Caller, appid: str) -> None:
    """Raise 404 unless it is of this caller's and has a gate."""
    if not caller.owns(appid) or not (await gateway.store.gates_of([appid]))[0]:
        raise not_found("none of this key's apps with an activity here has this appid")


router = Router("/v1/gates", route_handlers=[gates, open_gate, close_gate])
