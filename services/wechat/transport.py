"""One exchange with WeChat: a request out, a status and a bounded body back, or why not."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httpx
import msgspec

LARGEST_ANSWER: Final = 64 << 10
"""Bytes; more than that is no answer of WeChat's."""
CONNECTIONS: Final = 4
"""Connections per client: httpx's pool scans quadratically, so many small pools carry more than one."""

CONNECT: Final = 5.0
STEP: Final = 60.0
"""Seconds for a connection, and for any other step; the caller's total deadline bounds them all."""


class Exchange(msgspec.Struct, frozen=True):
    """`status` 0: no answer. `refused`: the connection was, so that nothing was sent. No URL in `why`."""

    status: int = 0
    body: bytes = b""
    refused: bool = False
    why: str = ""


class Connections:
    """As many httpx clients as the calls in flight need; each exchange takes the least busy."""

    def __init__(
        self, base: str, in_flight: int, transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    ) -> None:
        count = -(-in_flight // CONNECTIONS)
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._clients = [
            httpx.AsyncClient(
                base_url=base,
                limits=limits,
                follow_redirects=False,
                trust_env=False,
                timeout=httpx.Timeout(STEP, connect=CONNECT),
                transport=transport() if transport else None,
            )
            for _ in range(count)
        ]
        self._busy = [0] * count

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.aclose()

    async def exchange(
        self, method: str, path: str, params: Mapping[str, str], content: bytes | None
    ) -> Exchange:
        """One request. Raises nothing but what its caller's deadline raises."""
        place = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._busy[place] += 1
        try:
            headers = {"content-type": "application/json"} if content is not None else {}
            request = self._clients[place].build_request(
                method, path, params=dict(params), content=content, headers=headers
            )
            response = await self._clients[place].send(request, stream=True)
            try:
                return Exchange(response.status_code, *await _read(response))
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            # The text of the error may carry the URL, and the URL the token: only its type is kept.
            return Exchange(refused=_refused(error), why=type(error).__name__)
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            return Exchange(why=type(error).__name__)
        finally:
            self._busy[place] -= 1


async def _read(response: httpx.Response) -> tuple[bytes, bool, str]:
    """The body up to its bound, not refused, and what was wrong with it."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            return b"", False, f"an answer of more than {LARGEST_ANSWER} bytes"
    return bytes(body), False, ""


def _refused(error: httpx.HTTPError) -> bool:
    """Whether the connection was refused, and nothing else: a name not found may be anything."""
    if not isinstance(error, httpx.ConnectError):
        return False
    return any(_is_refusal(each) for each in _causes(error))


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return True
    return isinstance(error, OSError) and (
        error.errno == errno.ECONNREFUSED or "Connect call failed" in str(error)
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
