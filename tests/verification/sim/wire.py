"""A request and a response as the client makes and reads them; httpx's own parse every URL anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

NO_HEADERS: Final[Mapping[str, str]] = {}


class Request:
    """Stands in for `httpx.Request`."""

    __slots__ = ("content", "method", "params", "url")

    def __init__(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str],
        content: bytes | None,
        headers: Any,
        extensions: Any,
    ) -> None:
        self.method, self.url, self.params, self.content = method, url, params, content or b""

    @property
    def path(self) -> str:
        """What follows the server's name."""
        return "/" + self.url.split("/", 3)[3]


class Response:
    """Stands in for `httpx.Response`."""

    __slots__ = ("content", "status_code")

    headers = NO_HEADERS

    def __init__(self, status: int, *, content: bytes) -> None:
        self.status_code, self.content = status, content

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body, whole."""
        yield self.content

    async def aclose(self) -> None:
        """There is nothing to close."""
