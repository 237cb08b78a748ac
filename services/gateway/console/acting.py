"""What an operator does in the console: opens a gate, has a card redelivered. Either may be repeated."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, post
from litestar.params import PathParameter

from services.gateway.console.pages import segment
from services.gateway.console.parts import TheConsole, TheSession, redirect
from services.gateway.console.reading import ActivityId
from services.gateway.console.sessions import PATH
from services.gateway.ownership import owned
from services.gateway.parts import TheGateway
from services.gateway.problems import Problem, not_found
from services.transactions.redeliver import redeliver


@post("/gates/{appid:str}/open", opt={"console": True, "scope": "operate"})
async def open_gate(
    appid: Annotated[str, PathParameter(description="The app's id, percent-encoded.")],
    gateway: TheGateway,
    session: TheSession,
    console: TheConsole,
) -> Response[None]:
    """Whatever closed it: the next call finds out."""
    if not session.caller.owns(appid) or not (await gateway.store.gates_of([appid]))[0]:
        raise not_found("none of this key's apps with an activity here has this appid")
    await gateway.store.open_gates([appid], None)
    console.watch.forget()
    return redirect(f"{PATH}?{urlencode({'did': appid})}")


@post("/activities/{activity_id:str}/redeliver", opt={"console": True, "scope": "operate"})
async def redeliver_card(activity_id: ActivityId, gateway: TheGateway, session: TheSession) -> Response[None]:
    """Skipped members are owed again, and a card that was given up is tried again."""
    await owned(gateway.store, session.caller, activity_id)
    done = await redeliver(gateway.store, activity_id)
    if done.refused:
        raise Problem(409, done.refused)
    did = "revived" if done.revived else str(len(done.members))
    return redirect(f"{PATH}/activities/{segment(activity_id)}?did={did}")
