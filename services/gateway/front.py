"""What stands before the API: paths by their segments, limits in number and time, metrics, the drain."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote, unquote

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.parts import Gateway
from services.gateway.problems import MEDIA_TYPE, Problem, unavailable

MOST_WORKING: Final = 100
"""Requests that are worked on at once; beyond it they are turned away."""
MOST_OPEN: Final = 2000
"""Requests that are open at once, streams included."""
DEADLINE: Final = 30.0
"""Seconds from a request's first byte to the first byte of its answer."""
SHED: Final = 1
"""Seconds after which to try again where too much is going on."""

_PLAIN: Final = "~!$&'()*+,;=:@"


class Front:
    """An ASGI application around the API."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway
        self._working = self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        """Return once nothing is in hand."""
        await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        if refused := self._refused(scope):
            await _answer(refused, send)
            return
        self._open += 1
        self._working += 1
        self._idle.clear()
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and not started:
                started = True
                self._working -= 1
                deadline.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(DEADLINE) as deadline:
                await self._app(scope, receive, sending)
        except TimeoutError:
            if started:
                raise
            await _answer(unavailable("this took too long: try again", SHED), send)
        finally:
            self._open -= 1
            self._working -= not started
            if not self._open:
                self._idle.set()

    def _refused(self, scope: Scope) -> Problem | None:
        if self._gateway.stopping.is_set():
            return unavailable("this gateway leaves: ask another one", SHED)
        if self._working >= MOST_WORKING or self._open >= MOST_OPEN:
            return unavailable("too many requests are under way: try again", SHED)
        path = canonical(scope.get("raw_path") or scope["path"].encode())
        if path is None:
            return Problem(404, "the path is no UTF-8, percent-encoded")
        scope["path"] = path
        return None


def canonical(raw: bytes) -> str | None:
    """A path whose segments are percent-encoded in one way, so that an id may hold a slash; None: no UTF-8."""
    try:
        segments = [unquote(each, errors="strict") for each in raw.partition(b"?")[0].decode("ascii").split("/")]
        return "/".join(quote(each, safe=_PLAIN) for each in segments)
    except UnicodeDecodeError:
        return None


async def _answer(problem: Problem, send: Send) -> None:
    body = problem.encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    start: Any = {"type": "http.response.start", "status": problem.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
