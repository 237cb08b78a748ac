"""One exchange with WeChat: a request out, a status and a bounded body back, or why not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httpx
import msgspec

LARGEST_ANSWER: Final = 64 << 10
"""Bytes; more than that is no answer of WeChat's."""
CONNECT: Final = 5.0
STEP: Final = 60.0
"""Seconds for a connection, and for any other step; the caller's total deadline bounds them all."""
IDLE: Final = 5.0
"""Seconds that a connection is kept for the next exchange: less than servers keep theirs, so that
none is closed under a request, which would be an unknown outcome."""
_TIMEOUTS: Final = {"connect": CONNECT, "read": STEP, "write": STEP, "pool": CONNECT}

Factory = Callable[[], httpx.AsyncBaseTransport]


class Exchange(msgspec.Struct, frozen=True):
    """`status` 0: no answer. `refused`: the connection was, so that nothing was sent. `withheld`:
    `may_send` said no. `why`: what is wrong with the answer; never an URL, which holds the token."""

    status: int = 0
    body: bytes = b""
    refused: bool = False
    withheld: bool = False
    why: str = ""


class Connections:
    """At most `most` connections to one server, each in an httpx transport of its own.

    One pool for all would scan quadratically (findings.md) and make a request wait after the lease
    check; and a request that is cancelled between connecting and sending stays in httpcore's pool
    for ever, taking a place away (seen with 1.0.9). So whoever has a place has a connection, and one
    whose exchange did not end well is thrown away. `connect` makes a transport: `by_socket(base)`,
    or the simulation's; a refusal is told by an `httpx.ConnectError` from a `ConnectionRefusedError`.
    """

    def __init__(self, base: str, most: int, connect: Factory) -> None:
        _quieten()
        self._base, self._connect = base.rstrip("/"), connect
        self._places = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close every connection that no exchange uses."""
        idle, self._idle = self._idle, []
        for transport in idle:
            await transport.aclose()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        content: bytes | None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> Exchange:
        """One request, without a redirect followed. Whatever the network does is in the answer.

        `may_send` is asked in the same step as the send: nothing is awaited, and nothing has to be
        waited for, between the two.
        """
        request = httpx.Request(
            method,
            self._base + path,
            params=dict(params),
            content=content,
            headers=_HEADERS if content is None else _HEADERS | {"content-type": "application/json"},
            extensions={"timeout": _TIMEOUTS},
        )
        async with self._places:
            transport = self._idle.pop() if self._idle else self._connect()
            whole = False
            try:
                if may_send():
                    got, whole = await _exchange(transport, request)
                else:
                    got, whole = Exchange(withheld=True), True
            finally:
                if whole and not _left_over(transport):
                    self._idle.append(transport)
                else:
                    self._throw_away(transport)
            return got

    def _throw_away(self, transport: httpx.AsyncBaseTransport) -> None:
        """In the background: the caller's deadline may be over."""
        task = asyncio.create_task(transport.aclose(), name="close-connection")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


_HEADERS: Final = {"accept-encoding": "identity", "user-agent": "livecard"}


def by_socket(base: str) -> Factory:
    """Transports of one connection, no proxy; the authorities' certificates are loaded once for all."""
    tls = httpx.create_ssl_context(verify=base.startswith("https:"))
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE)
    return lambda: httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)


def _quieten() -> None:
    """The libraries log URLs and headers at INFO and DEBUG, and ours carry the token."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[Exchange, bool]:
    """What came of it, and whether the connection is fit for another."""
    try:
        response = await transport.handle_async_request(request)
        try:
            return await _read(response)
        finally:
            await response.aclose()
    except Exception as error:  # noqa: BLE001 - whatever broke, the request may have been applied
        # An error's text may carry the URL, and the URL the token: only its type is kept.
        return Exchange(refused=_refused(error), why=type(error).__name__), False


async def _read(response: httpx.Response) -> tuple[Exchange, bool]:
    """The body up to its bound, where the status leaves anything to be learnt from it."""
    status = response.status_code
    if status == 429 or status >= 500 or 300 <= status < 400:
        return Exchange(status, why=f"HTTP {status}"), False
    if response.headers.get("content-encoding", "identity") != "identity":
        return Exchange(status, why="a compressed answer, which nobody asked for"), False
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            return Exchange(status, why=f"an answer of more than {LARGEST_ANSWER} bytes"), False
    return Exchange(status, bytes(body)), True


def _left_over(transport: Any) -> bool:
    """Whether the server sent more than its answer: the next request would take that for its own, and a
    call that was never applied for a success.

    It waits in h11's buffer, in anyio's queue or, over TLS, where anyio keeps what it has not decrypted yet,
    and OpenSSL what it has. Nothing public shows them; what has not left the socket closes the connection
    before its next use.
    """
    pool = getattr(transport, "_pool", None)
    for connection in getattr(pool, "connections", ()):
        http = getattr(connection, "_connection", None)
        state, network = getattr(http, "_h11_state", None), getattr(http, "_network_stream", None)
        tls = getattr(network, "_stream", None)
        protocol = getattr(getattr(tls, "transport_stream", tls), "_protocol", None)
        received, decrypted = getattr(tls, "_read_bio", None), getattr(tls, "_ssl_object", None)
        if (
            (state is not None and state.trailing_data[0])
            or (protocol is not None and protocol.read_queue)
            or (received is not None and received.pending)
            or (decrypted is not None and decrypted.pending())
        ):
            return True
    return False


def _refused(error: Exception) -> bool:
    """Whether the connection was refused, and nothing else: a name not found may be anything."""
    return isinstance(error, httpx.ConnectError) and any(
        isinstance(each, ConnectionRefusedError) for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of, groups opened (several addresses were tried)."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
