"""For whoever operates: cards that are not in sync, and trying again what was given up."""

from __future__ import annotations

from litestar import Router, get, post

from services.gateway.answers import CardsBody, RedeliveredBody, card_body
from services.gateway.cursors import PAGE, Cursor, Limit, read_cursor, write_cursor
from services.gateway.keys import Caller
from services.gateway.ownership import named, owned, unknown_activity
from services.gateway.parts import Gateway
from services.gateway.problems import Problem
from services.store.pages import Place
from services.transactions.redeliver import redeliver as redeliver_card
from services.transactions.views import card_views


@get("/delivery", opt={"scope": "operate"}, summary="Cards that are not in sync")
async def cards(caller: Caller, gateway: Gateway, limit: Limit = PAGE, cursor: Cursor = None) -> CardsBody:
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
    opt={"scope": "operate"},
    status_code=200,
    summary="Try again what was given up",
)
async def redeliver(activity_id: str, caller: Caller, gateway: Gateway) -> RedeliveredBody:
    """Skipped members are owed again, and a card that was given up is tried again. Repeating it changes
    nothing more."""
    name = named(activity_id)
    await owned(gateway.store, caller, name)
    done = await redeliver_card(gateway.store, name)
    if done.refused:
        if await gateway.store.owner(name) is None:
            raise unknown_activity()
        raise Problem(409, done.refused)
    return RedeliveredBody(done.members, done.revived)


router = Router("/v1", route_handlers=[cards, redeliver])
