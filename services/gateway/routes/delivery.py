"""For whoever operates: cards that are not in sync, and trying again what was given up."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, post

from services.gateway.acting import acting
from services.gateway.answers import ActionsBody, CardsBody, RedeliveredBody, action_body, card_body
from services.gateway.bodies import Why, body_of, read_body
from services.gateway.cursors import PAGE, Cursor, Limit, read_cursor, write_cursor
from services.gateway.dependencies import ActivityId, TheCaller, TheGateway
from services.gateway.once import Keep, Reply, once
from services.gateway.ownership import owned, unknown_activity
from services.gateway.problems import Problem
from services.store.pages import Place
from services.transactions.redeliver import redeliver_in
from services.transactions.views import card_views


@get("/delivery", opt={"scope": "operate"}, summary="Cards that are not in sync")
async def cards(
    caller: TheCaller, gateway: TheGateway, limit: Limit = PAGE, cursor: Cursor = None
) -> CardsBody:
    """Those that are due, calling, uncertain or given up, oldest first. One whose cause is replaced by a
    later one while you page moves back, and may come again; none is left out."""
    of = "delivery"
    after = read_cursor(of, cursor, Place)
    views = card_views(await gateway.store.out_of_sync(caller.appids, after, limit + 1), gateway.rules)
    shown = views[:limit]
    return CardsBody(
        [card_body(each) for each in shown],
        write_cursor(of, shown[-1].place) if len(views) > limit else None,
    )


@post(
    "/activities/{activity_id:str}/redeliver",
    opt={"scope": "operate", "body": Why},
    status_code=200,
    summary="Try again what was given up",
)
async def redeliver(
    request: Request[Any, Any, Any], activity_id: ActivityId, caller: TheCaller, gateway: TheGateway
) -> Response[RedeliveredBody]:
    """Skipped members are owed again, and a card that was given up is tried again. Repeating it changes
    nothing more."""
    body = await body_of(request)
    owner = await owned(gateway.store, caller, activity_id)

    async def work(keep: Keep) -> Reply:
        why = read_body(body, Why).why
        async with gateway.store.transaction() as tx:
            done = await redeliver_in(tx, activity_id, acting(caller, why))
            if not done.found and owner.state:  # it was deleted meanwhile
                raise unknown_activity()
            if done.refused:
                raise Problem(
                    409, done.refused if done.found else "it is not open yet: try again in a moment"
                )
            return await keep(tx, Reply.of(200, RedeliveredBody(done.members, done.revived)))

    return await once(request, body, gateway, caller, work)


@get("/actions", opt={"scope": "operate"}, summary="What operators did last")
async def actions(caller: TheCaller, gateway: TheGateway, limit: Limit = PAGE) -> ActionsBody:
    """To the cards and gates of this key's apps, newest first: who, what, why."""
    return ActionsBody([action_body(each) for each in await gateway.store.actions(limit, caller.appids)])


router = Router("/v1", route_handlers=[cards, redeliver, actions])
