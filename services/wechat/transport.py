"""One exchange with WeChat: a request out, a status and a bounded body back, or why not."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from services.runtime.tls import refused_certificate
from services.wechat.authorities import SETTING, Authorities

LARGEST_ANSWER: Final = 64 << 10
"""Bytes; more than that is no answer of WeChat's."""
CONNECT: Final = 5.0
"""Seconds for a connection, name and TLS included; the caller's total deadline bounds the rest."""
IDLE: Final = 5.0
"""Seconds that a connection is kept for the next exchange: less than servers keep theirs, so that
none is closed under a request, which would be an unknown outcome."""


class Exchange(msgspec.Struct, frozen=True):
    """`status` 0: no answer. `unsent`: no connection came about, so that nothing was sent. `withheld`:
    `may_send` said no. `why`: what is wrong with the answer; never an URL, which holds the token."""

    status: int = 0
    body: bytes = b""
    unsent: bool = False
    withheld: bool = False
    why: str = ""


class Transport(Protocol):
    """The way to WeChat: `AiohttpTransport`, or one without a socket in the simulation and in tests."""

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        """Send once, follow no redirect. Whatever the network does is in what comes back.

        What is raised instead counts as sent, with an unknown outcome.
        """
        ...

    async def close(self) -> None:
        """Close all connections; nothing is in flight any more."""
        ...


class Limited:
    """At most `most` exchanges at once over a transport."""

    def __init__(self, transport: Transport, most: int) -> None:
        self._transport, self._free = transport, asyncio.Semaphore(most)

    async def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> Exchange:
        """See `Transport.exchange`. `may_send` is asked last: no place is waited for after it."""
        async with self._free:
            if not may_send():
                return Exchange(withheld=True)
            return await self._transport.exchange(method, path, query, body)


class AiohttpTransport:
    """aiohttp without what we must not have: a second send, redirects, cookies, proxies, decompression.

    Its pool has no limit of its own (the callers have, see `Limited`), so no exchange waits in it.
    `authorities`: the PEM file of who may sign the certificate, empty for the public list. Raises `TlsError`
    for one that cannot be used.
    """

    def __init__(self, base: str, authorities: str = "") -> None:
        self._base = base.rstrip("/")
        self._authorities = Authorities(authorities) if base.startswith("https:") else None
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        """See `Transport`. An error's text may carry the URL, and the URL the token: only types are told."""
        try:
            response = await self._opened().request(
                method,
                self._base + path,
                params=query,
                data=body,
                headers=None if body is None else _JSON,
                allow_redirects=False,
                ssl=self._authorities.context() if self._authorities else True,
            )
            try:
                return await _read(response)
            finally:
                response.close()  # an answer that was read whole has given its connection back by now
        except _NOT_CONNECTED as error:
            return Exchange(unsent=True, why=_unconnected(error))
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may have been applied
            return Exchange(why=_name(error))

    async def close(self) -> None:
        """See `Transport`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """The session; made at the first use, since it belongs to the loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
                # sock_read stays unset: aiohttp 3.14 lets it strike idle connections (its issue 12953).
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT),
                headers={"accept-encoding": "identity", "user-agent": "livecard"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                request_class=_Request,
                middlewares=(_once,),
            )
        return self._session


_JSON: Final = {"content-type": "application/json"}
_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Name, connection or TLS failed; aiohttp raises them before it writes anything."""


async def _read(response: aiohttp.ClientResponse) -> Exchange:
    """The body up to its bound, where the status leaves anything to be learnt from it."""
    status = response.status
    if status == 429 or status >= 500 or 300 <= status < 400:
        return Exchange(status, why=f"HTTP {status}")
    if response.headers.get("content-encoding", "identity") != "identity":
        return Exchange(status, why="a compressed answer, which nobody asked for")
    body = b""
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            return Exchange(status, why=f"an answer of more than {LARGEST_ANSWER} bytes")
    return Exchange(status, body)


class _LeftOverError(Exception):
    """The kept connection holds bytes that nobody asked for, or was closed; nothing was sent on it."""


class _BrokenError(Exception):
    """The connection broke after the send. No error of aiohttp's, which would send a GET once more."""


class _Request(aiohttp.ClientRequest):
    """Looks at a kept connection before it is used again.

    aiohttp drops one that has bytes left over when its answer ends, but not one that is sent more while it
    is idle: the next request would take that for its own answer (its issue 13656), and a call that was
    never applied for a success. What has not left the socket is seen too, the server's close included.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        protocol, transport = conn.protocol, conn.transport
        if protocol is not None and transport is not None:
            if protocol in _USED and (
                protocol.should_close or _readable(transport.get_extra_info("socket").fileno())
            ):
                raise _LeftOverError
            _USED.add(protocol)
        return await super().send(conn)


_USED: Final[WeakSet[ResponseHandler]] = WeakSet()
"""Connections that had a request. A new one may be readable rightly: TLS sends session tickets."""


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send on a fit connection, and never again: aiohttp repeats a GET when a kept connection breaks."""
    while True:
        try:
            return await handler(request)
        except _LeftOverError:
            continue  # that connection is closed now; there are only so many, and a new one is not looked at
        except _NOT_CONNECTED:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise _BrokenError from error


def _unconnected(error: Exception) -> str:
    """Why no connection came about; a certificate's fault in words, since somebody has to act."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return refused_certificate(cause, "WeChat's", SETTING)
    if isinstance(cause, ssl.SSLError):
        return f"the TLS handshake failed ({cause.reason or 'unknown reason'}); does this port speak TLS?"
    return _name(error)


def _name(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
