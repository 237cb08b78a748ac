"""Gates of apps: whether cards may be delivered, and opening one by hand."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.params import PathParameter

from services.gateway.answers import GatesBody, gate_body
from services.gateway.bodies import Nothing, body_of, read_body
from services.gateway.once import Keep, Reply, once
from services.gateway.parts import TheCaller, TheGateway
from services.gateway.problems import not_found


@get("/", opt={"scope": "operate"}, summary="The gates of this key's apps")
async def gates(caller: TheCaller, gateway: TheGateway) -> GatesBody:
    """Closed until when and why, for each app that ever opened an activity."""
    found, now = await gateway.store.gates_of(caller.appids)
    return GatesBody([gate_body(each, now, gateway.rules.longest_closing) for each in found])


@post("/{appid:str}/open", opt={"scope": "operate"}, status_code=204, summary="Open a gate")
async def open_gate(
    request: Request[Any, Any, Any],
    appid: Annotated[str, PathParameter(description="The app's id, percent-encoded.")],
    caller: TheCaller,
    gateway: TheGateway,
) -> Response[None]:
    """Whatever closed it: the next call finds out. It closes again for an app without a secret here."""
    body = await body_of(request)
    if not caller.owns(appid) or not (await gateway.store.gates_of([appid]))[0]:
        raise not_found("none of this key's apps with an activity here has this appid")

    async def work(_: Keep) -> Reply:
        read_body(body, Nothing)
        await gateway.store.open_gates([appid], None)
        return Reply(204)

    return await once(request, body, gateway, caller, work)


router = Router("/v1/gates", route_handlers=[gates, open_gate])
