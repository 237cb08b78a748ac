"""What every request passes before its route: whose key it is, and what the key allows."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from services.gateway.console.door import let_in
from services.gateway.dependencies import TheGateway
from services.gateway.keys import ApiKeys, Caller
from services.gateway.problems import Problem


def guarded(app: ASGIApp) -> ASGIApp:
    """The middleware of every route: who calls, and whether the route's `scope` is one of the key's.

    A route without a scope answers nobody, unless it says `opt={"open": True}`. A page (`"console": True`)
    asks for a cookie instead of a key, and for a form's token too. It is no guard of Litestar's: for each
    request that copies the route, and runs in a thread what is no coroutine.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        handler = scope["route_handler"]
        if handler.opt.get("console"):
            _decode_path(scope)
            request: Request[Any, Any, Any] = Request(scope, receive)
            await let_in(request, handler, request.app.state.console.sessions)
        elif not handler.opt.get("open"):
            _decode_path(scope)
            _let_in(ASGIConnection(scope), handler)
        await app(scope, receive, send)

    return guard


def _decode_path(scope: Scope) -> None:
    scope["path_params"] = {name: unquote(value) for name, value in scope["path_params"].items()}


def _let_in(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Remember who calls; raise `Problem` for whoever may not."""
    connection.state.caller = caller = _caller(connection)
    scope = handler.opt.get("scope")
    if scope not in caller.scopes and connection.scope.get("method") != "OPTIONS":  # which tells the methods
        raise Problem(403, f"the key {caller.name!r} has not the scope {scope!r}")


def _caller(connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    kind, _, key = connection.headers.get("authorization", "").partition(" ")
    keys: ApiKeys = connection.app.state.api_keys
    caller = keys.find(key.strip()) if kind.lower() == "bearer" else None
    if caller is None:
        raise Problem(
            401,
            "send a key of this gateway in the header Authorization: Bearer KEY; `livecard key` makes one",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


async def the_caller(request: Request[Any, Any, Any], gateway: TheGateway) -> Caller:
    """Whom the guard let in: the dependency `caller`. It names another dependency so that they are made one
    after the other: side by side they cost tasks."""
    caller: Caller = request.state.caller
    return caller
