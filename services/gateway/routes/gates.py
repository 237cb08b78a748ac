"""Gates of apps: whether cards may be delivered, and opening one by hand."""

from __future__ import annotations

from urllib.parse import unquote

from litestar import Router, get, post

from services.gateway.answers import GatesBody, gate_body
from services.gateway.keys import Caller
from services.gateway.parts import Gateway
from services.gateway.problems import not_found


@get("/", opt={"scope": "operate"}, summary="The gates of this key's apps")
async def gates(caller: Caller, gateway: Gateway) -> GatesBody:
    """Closed until when and why, for each app that ever opened an activity."""
    found, now = await gateway.store.gates_of(caller.appids)
    return GatesBody([gate_body(each, now, gateway.rules.longest_closing) for each in found])


@post("/{appid:str}/open", opt={"scope": "operate"}, status_code=204, summary="Open a gate")
async def open_gate(appid: str, caller: Caller, gateway: Gateway) -> None:
    """Whatever closed it: the next call finds out. It closes again for an app without a secret here."""
    name = unquote(appid)
    if not caller.owns(name) or not (await gateway.store.gates_of([name]))[0]:
        raise not_found("none of this key's apps with an activity here has this appid")
    await gateway.store.open_gates([name], None)


router = Router("/v1/gates", route_handlers=[gates, open_gate])
