"""One exchange with WeChat: a request out, a status and a bounded body back, or why not."""

from __future__ import annotations

import select
import ssl
from collections.abc import Mapping
from typing import Any, Final, Protocol
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from services.runtime.tls import refused_certificate
from services.wechat.authorities import SETTING, Authorities
from services.wechat.proxy import SETTING as PROXY_SETTING
from services.wechat.proxy import Proxy, refused_by_proxy

LARGEST_ANSWER: Final = 64 << 10
"""Bytes; more than that is no answer of WeChat's."""
CONNECT: Final = 5.0
"""Seconds for a connection, name and TLS included; the caller's total deadline bounds the rest."""
IDLE: Final = 5.0
"""Seconds that a connection is kept for the next exchange: less than servers keep theirs, so that
none is closed under a request, which would be an unknown outcome."""


_JSON: Final = {"content-type": "application/json"}
_NO_HEADERS: Final[Mapping[str, str]] = {}
_DIRECT: Final[tuple[dict[str, Any], dict[str, str]]] = {}, {}


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


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end of a transport, as errors name it, and what names who may sign its certificate:
    `authorities`, a PEM file, empty for the public list, and the `setting` that it comes from."""

    whose: str = "WeChat's"
    authorities: str = ""
    setting: str = SETTING


class AiohttpTransport:
    """aiohttp without what we must not have: a second send, redirects, cookies, a proxy of the environment,
    decompression.

    Its pool has no limit of its own (the callers have, see `Limited`), so no exchange waits in it. `proxy` is
    asked for the way out before each exchange; `within` bounds the seconds for a connection further. Raises
    `TlsError` for authorities that cannot be used.
    """

    def __init__(
        self, base: str, peer: Peer | None = None, proxy: Proxy | None = None, *, within: float = CONNECT
    ) -> None:
        self._base, self._peer, self._proxy, self._within = base, peer or Peer(), proxy, within
        secure = base.startswith("https:")
        self._authorities = Authorities(self._peer.authorities, self._peer.setting) if secure else None
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Exchange:
        """See `Transport`. An error's text may carry the URL, and the URL the token: only types are told."""
        try:
            way, shown = self._proxy.way(tunnel=self._authorities is not None) if self._proxy else _DIRECT
            response = await self._opened().request(
                method,
                self._base.rstrip("/") + path if path else self._base,
                params=query,
                data=body,
                headers={**headers, **shown, **({} if body is None else _JSON)},
                allow_redirects=False,
                ssl=self._authorities.context() if self._authorities else True,
                **way,
            )
            try:
                return await _read(response)
            finally:
                response.close()  # an answer that was read whole has given its connection back by now
        except _NOT_CONNECTED as error:
            return Exchange(unsent=True, why=_unconnected(error, self._peer))
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
                timeout=aiohttp.ClientTimeout(total=None, connect=min(CONNECT, self._within)),
                headers={"accept-encoding": "identity", "user-agent": "livecard"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                request_class=_Request,
                middlewares=(_once,),
            )
        return self._session


_NOT_CONNECTED: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""Name, connection, the proxy's tunnel or TLS failed; aiohttp raises them before it writes the request."""


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


def _unconnected(error: Exception, peer: Peer) -> str:
    """Why no connection came about; what somebody has to act on in words."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return refused_certificate(cause, peer.whose, peer.setting)
    if isinstance(cause, ssl.SSLError):
        return f"the TLS handshake failed ({cause.reason or 'unknown reason'}); does this port speak TLS?"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return refused_by_proxy(error.status)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy cannot be reached ({_name(error)}): {PROXY_SETTING} names it"
    return _name(error)


def _name(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
