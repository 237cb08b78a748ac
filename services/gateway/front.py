"""What stands before the API: paths by their segments, limits in number and time, metrics, the drain."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote, unquote

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send

from services.gateway.console.sessions import PATH as CONSOLE
from services.gateway.dependencies import Gateway
from services.gateway.problems import MEDIA_TYPE, Problem, no_such_path, unavailable
from services.runtime.ports import Clock
from services.tracing.ports import Traces

MOST_WORKING: Final = 100
"""Requests that are worked on at once; beyond it they are turned away."""
MOST_OPEN: Final = 2000
"""Requests that are open at once, streams included."""
DEADLINE: Final = 30.0
"""Seconds from a request's first byte to the first byte of its answer."""
STALLED: Final = 30.0
"""Seconds in which a client takes what is sent to it."""
SHED: Final = 1
"""Seconds after which to try again where too much is going on."""
API: Final = "/v1/"
"""Where the paths begin whose requests are traced: a page of the console asks every second."""

_PLAIN: Final = "~!$&'()*+,;=:@"
_AS_IT_IS: Final = re.compile(rb"(?:/[A-Za-z0-9_.~!$&'()*+,;=:@-]+)+")
"""A path in which nothing is to be encoded, as nearly every one."""


class Front:
    """An ASGI application around the API."""

    def __init__(self, app: Litestar, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway
        self._routes = {id(handler): name for name, handler in routes_of(app)}
        self._working = self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        """Return once nothing is in hand."""
        await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != ScopeType.HTTP:
            return
        one = _Exchange(send, self._gateway.clock)
        if refused := self._refused(scope):
            await one.refuse(refused)
        elif (traces := self._gateway.traces) is not None and scope["path"].startswith(API):
            await self._traced(traces, scope, receive, one)
        else:
            await self._work(scope, receive, one)
        self._gateway.metrics.request_answered(self._route(scope), one.status, one.seconds)

    async def _traced(self, traces: Traces, scope: Scope, receive: Receive, one: _Exchange) -> None:
        """As a span, which the routes find in the headers as if the caller had sent it."""
        method: str = scope["method"]  # type: ignore[typeddict-item]  # it is HTTP, as was looked at before
        asking = traces.asked(method, scope["headers"])
        if asking is not None:
            scope["headers"] = asking.headers
        try:
            await self._work(scope, receive, one)
        finally:
            if asking is not None:
                about = scope.get("path_params", {}).get("activity_id", "")
                traces.answered(asking, self._route(scope), one.status, one.seconds, about)

    def _route(self, scope: Scope) -> str:
        return self._routes.get(id(scope.get("route_handler")), "")

    async def _work(self, scope: Scope, receive: Receive, one: _Exchange) -> None:
        self._count(1, 1)
        try:
            async with asyncio.timeout(DEADLINE) as deadline:

                def answers() -> None:
                    deadline.reschedule(None)
                    self._count(-1, 0)

                one.answers = answers
                await self._app(scope, receive, one.send)
        except Exception as error:
            if one.stalled:
                return  # nobody is there to be told
            if one.status or not isinstance(error, TimeoutError):
                raise
            one.answers = lambda: self._count(-1, 0)
            await one.refuse(unavailable("this took too long: try again", SHED))
        finally:
            self._count(-(not one.answered), -1)

    def _count(self, working: int, open_: int) -> None:
        self._working += working
        self._open += open_
        self._gateway.metrics.requests_in_flight(self._open)
        if self._open:
            self._idle.clear()
        else:
            self._idle.set()

    def _refused(self, scope: Scope) -> Problem | None:
        if self._gateway.stopping.is_set():
            return unavailable("this gateway leaves: ask another one", SHED)
        if self._working >= MOST_WORKING or self._open >= MOST_OPEN:
            return unavailable("too many requests are under way: try again", SHED)
        raw = scope.get("raw_path") or scope["path"].encode()
        path = CONSOLE if raw.partition(b"?")[0] == b"%b/" % CONSOLE.encode() else canonical(raw)
        if path is None:
            return no_such_path()
        scope["path"] = path
        return None


class _Exchange:
    """What is answered to one request. `answers` is called once, with its first byte."""

    def __init__(self, send: Send, clock: Clock) -> None:
        self._send, self._clock = send, clock
        self._began = clock.monotonic()
        self.answers: Callable[[], None] = lambda: None
        self.answered = self.stalled = False
        self.status = 0
        self.seconds = 0.0

    async def send(self, message: Message) -> None:
        """Pass it on. Raises `TimeoutError` where the client does not read."""
        if message["type"] == "http.response.start" and not self.answered:
            self.answered, self.status = True, message["status"]
            self.seconds = self._clock.monotonic() - self._began
            self.answers()
        try:
            async with asyncio.timeout(STALLED):
                await self._send(message)
        except TimeoutError:
            self.stalled = True
            raise

    async def refuse(self, problem: Problem) -> None:
        """Answer with this."""
        body = problem.encode()
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
        ]
        start: Any = {"type": "http.response.start", "status": problem.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def routes_of(app: Litestar) -> Iterator[tuple[str, Any]]:
    """Every route of the API: `POST /v1/activities/{activity_id}/close`, and its handler."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in sorted(handler.http_methods):
                if method != "OPTIONS":
                    yield f"{method} {route.path_format}", handler


def canonical(raw: bytes) -> str | None:
    """A path whose segments are percent-encoded in one way, so that an id may hold a slash. None: one is
    empty, or no UTF-8."""
    if _AS_IT_IS.fullmatch(raw):
        return raw.decode("ascii")
    try:
        _, *segments = raw.partition(b"?")[0].decode("ascii").split("/")
        plain = [unquote(each, errors="strict") for each in segments]
    except UnicodeDecodeError:
        return None
    return "".join(f"/{quote(each, safe=_PLAIN)}" for each in plain) if all(plain) else None
