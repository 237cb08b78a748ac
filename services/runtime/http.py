"""The HTTP side of every process: `/healthz`, `/readyz`, `/metrics` (design.md §7), and the gateway's API."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.runtime.addresses import host_and_port
from services.runtime.error_text import Explained
from services.runtime.health import Health

HEALTH_ROUTES: Final = ("/healthz", "/readyz", "/metrics")
BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request's first line and headers together."""
IDLE: Final = 15
"""Seconds for which a connection without a whole request's head stays open."""
LAST_ANSWERS: Final = 1
"""Seconds that `stop` waits for answers under way."""


class AddressError(Explained):
    """LIVECARD_HTTP cannot be served; the text says why and what to do."""


class Answer(msgspec.Struct, frozen=True):
    """What one of the health routes answers."""

    status: int
    content_type: str
    body: bytes


def split_address(address: str, variable: str = "LIVECARD_HTTP") -> tuple[str, int]:
    """`host:port` → (host, port); raises `AddressError`."""
    found = host_and_port(address)
    if found is None:
        raise AddressError(f"{variable}: {address!r} is not host:port, such as 127.0.0.1:8080")
    return found[0].strip("[]") or "127.0.0.1", found[1]


def refused(host: str, port: int, error: OSError) -> AddressError:
    """Why nobody can listen there."""
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return AddressError(
            f"{where} is in use, perhaps by another livecard: stop that one or set LIVECARD_HTTP"
        )
    return AddressError(f"cannot listen on {where}: {error.strerror}; set LIVECARD_HTTP")


class HealthAnswers:
    """What the health routes say, whoever serves them."""

    def __init__(self, health: Health, registry: CollectorRegistry) -> None:
        self._health, self._registry = health, registry

    async def answer(self, path: str) -> Answer | None:
        """None for any other path."""
        if path == "/healthz":
            return self._alive()
        if path == "/readyz":
            return await self._ready()
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self._registry))
        return None

    def _alive(self) -> Answer:
        """200 while no loop stands still by its own fault; 503 names those that do, and since when."""
        self._health.notice()
        stalled = self._health.stalled()
        ages = {name: round(age, 3) for name, age in self._health.ages().items()}
        body = {"alive": not stalled, "stalled": sorted(stalled), "why": stalled, "ages": ages}
        return _json(body, ok=not stalled)

    async def _ready(self) -> Answer:
        """200 when every service can do its work; 503 says what each waits for, and since when.

        Warnings are told with either."""
        self._health.notice()
        waiting = await self._health.waiting()
        body = {
            "ready": not waiting,
            "waiting": waiting,
            "since": self._health.since(),
            "warnings": self._health.warnings(),
        }
        return _json(body, ok=not waiting)


class HttpServer:
    """Serves the health routes of the process, and `api` (the gateway's) on all other paths."""

    def __init__(
        self,
        address: str,
        health: Health,
        registry: CollectorRegistry,
        api: Callable[..., Awaitable[None]] | None = None,
    ) -> None:
        self.host, self.port = split_address(address)
        self._health, self._api = HealthAnswers(health, registry), api
        self._serving: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                self._answer,
                http=_Protocol,
                h11_max_incomplete_event_size=LARGEST_HEAD,
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=LAST_ANSWERS,
            )
        )

    async def start(self) -> None:
        """Listen; raises `AddressError` for a port in use or an address that is not ours."""
        try:
            listening = await _listen(self.host, self.port)
        except OSError as error:
            raise refused(self.host, self.port, error) from None
        self.port = listening.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listening]), name="http")
        await self._server.listening.wait()

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Stop listening; what is being answered gets a second."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def _answer(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        if _head(scope) > LARGEST_HEAD:  # h11 counts only what comes in pieces
            await _send(_plain(431), scope, send)
            return
        if (found := await self._health.answer(scope["path"])) is None:
            if self._api is not None:
                await self._api(scope, receive, send)
                return
            found = _plain(404)
        elif scope["method"] not in ("GET", "HEAD"):
            found = _plain(405)
        await _send(found, scope, send)


class _Protocol(H11Protocol):
    """Ends a connection on which no whole head comes in time; uvicorn waits for its first byte alone, and
    only after an answer."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        """A head is due."""
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        """The next one is."""
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """None is."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def _await_head(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(self.timeout_keep_alive, self._end_idle)

    def _end_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self.transport.close()


class _Server(uvicorn.Server):
    """Signals are the host's; who starts it is told when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on these."""
        await super().startup(sockets=sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing."""
        yield


async def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of the host that can be had. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, protocol, _, address = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.settimeout(0)
    except OSError:
        listening.close()
        raise
    return listening


async def _send(answer: Answer, scope: Any, send: ASGISendCallable) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False}
    )
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _head(scope: Any) -> int:
    """Bytes of a request's first line and headers, nearly."""
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


def _plain(status: int) -> Answer:
    phrase = HTTPStatus(status).phrase
    return Answer(status, "text/plain; charset=utf-8", f"{status}: {phrase}".encode())


def _json(body: Mapping[str, object], *, ok: bool) -> Answer:
    return Answer(200 if ok else 503, "application/json", msgspec.json.encode(body))
