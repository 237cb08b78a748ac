"""What an operator does in the console: a gate opened or closed, a card redelivered, a refusal looked up."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, post
from litestar.params import PathParameter

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from services.gateway.acting import acting
from services.gateway.console.dependencies import TheConsole, TheSession, redirect
from services.gateway.console.pages import segment
from services.gateway.console.reading import SPANS, ActivityId
from services.gateway.console.sessions import PATH
from services.gateway.dependencies import TheGateway
from services.gateway.ownership import owned
from services.gateway.problems import Problem, not_found
from services.gateway.routes.gates import check_gate
from services.store.operators import LONGEST_WHY
from services.transactions.gates import close_by_hand, open_by_hand
from services.transactions.redeliver import redeliver
from services.transactions.story import MOST
from services.wechat.ports import Answer
from services.wechat.support import support_text

AT: Final = "console"


@post("/gates/{appid:str}/open", opt={"console": True, "scope": "operate"})
async def open_gate(
    appid: Annotated[str, PathParameter(description="The app's id, percent-encoded.")],
    gateway: TheGateway,
    session: TheSession,
    console: TheConsole,
) -> Response[None]:
    """Whatever closed it: the next call finds out."""
    await check_gate(gateway, session.caller, appid)
    async with gateway.store.transaction() as tx:
        await open_by_hand(tx, [appid], acting(session.caller, at=AT))
    console.watch.forget()
    return redirect(f"{PATH}?{urlencode({'did': appid})}")


@post("/gates/{appid:str}/close", opt={"console": True, "scope": "operate"})
async def close_gate(
    request: Request[Any, Any, Any],
    appid: Annotated[str, PathParameter(description="The app's id, percent-encoded.")],
    gateway: TheGateway,
    session: TheSession,
    console: TheConsole,
) -> Response[None]:
    """None of its cards is delivered for so long, or until somebody opens it."""
    await check_gate(gateway, session.caller, appid)
    form = await request.form()
    span, why = SPANS.get(str(form.get("span"))), str(form.get("why") or "").strip()
    if span is None or not 0 < len(why) <= LONGEST_WHY:
        raise Problem(422, f"say for how long, and why, in 1 to {LONGEST_WHY} characters")
    async with gateway.store.transaction() as tx:
        await close_by_hand(tx, [appid], await tx.now() + span, acting(session.caller, why, at=AT))
    console.watch.forget()
    return redirect(f"{PATH}?{urlencode({'shut': appid})}")


@post("/activities/{activity_id:str}/rid", opt={"console": True, "scope": "operate"}, status_code=200)
async def refused_call(
    request: Request[Any, Any, Any],
    activity_id: ActivityId,
    gateway: TheGateway,
    session: TheSession,
    console: TheConsole,
) -> Response[str]:
    """One of its calls that WeChat refused, as WeChat tells of it: a text for its support."""
    owner = await owned(gateway.store, session.caller, activity_id)
    rid = str((await request.form()).get("rid") or "")
    calls = await gateway.store.attempts(activity_id, MOST)
    call = next((each for each in calls if rid and each.rid == rid), None)
    if call is None:
        raise not_found("none of this activity's last calls has this rid")
    found = await gateway.wechat.request_of(owner.appid, rid)
    missing = found if isinstance(found, Answer) else None
    text = support_text(
        owner.appid,
        SET_CHAT_TOOL_MSG_PATH,
        rid,
        at=call.at,
        errcode=call.errcode,
        errmsg=call.errmsg,
        found=None if isinstance(found, Answer) else found,
    )
    return console.pages.answer(
        request, "rid", title="rid", activity_id=activity_id, text=text, missing=missing
    )


@post("/activities/{activity_id:str}/redeliver", opt={"console": True, "scope": "operate"})
async def redeliver_card(activity_id: ActivityId, gateway: TheGateway, session: TheSession) -> Response[None]:
    """Skipped members are owed again, and a card that was given up is tried again."""
    await owned(gateway.store, session.caller, activity_id)
    done = await redeliver(gateway.store, activity_id, acting(session.caller, at=AT))
    if done.refused:
        raise Problem(409, done.refused)
    did = "revived" if done.revived else str(len(done.members))
    return redirect(f"{PATH}/activities/{segment(activity_id)}?did={did}")
