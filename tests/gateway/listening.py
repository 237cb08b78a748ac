"""A client of the events stream, at the ASGI application itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from scripts.patience import PATIENCE
from tests.gateway.world import ALL_KEY, World


class Listener:
    """One client of the API, at the ASGI application itself. It stops reading while `reads` is clear."""

    def __init__(self, world: World, activity: str, last: str | None, key: str) -> None:
        self._world = world
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/v1/activities/{activity}/events",
            "raw_path": f"/v1/activities/{quote(activity, safe='')}/events".encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "root_path": "",
        }
        if last is not None:
            self.scope["headers"].append((b"last-event-id", last.encode()))  # type: ignore[attr-defined]  # it is a list here
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.over = False
        self.left, self.reads, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.reads.set()
        self._asked = False
        self.task: asyncio.Task[None] | None = None

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.over = not message.get("more_body", False)
        self._news.set()

    async def call(self) -> None:
        """The request, to its end."""
        scope: Any = self.scope
        await self._world.front(scope, self._receive, self._send)

    async def until(self, pattern: str) -> re.Match[str]:
        """Wait until the body has it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(pattern, self.body.decode(), re.DOTALL)):
                self._news.clear()
                await self._news.wait()
        return found

    async def end(self) -> None:
        """Wait for the end of the request."""
        assert self.task is not None
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.task])
        self.task.result()


@asynccontextmanager
async def listening(
    world: World, activity: str = "a-1", last: str | None = None, key: str = ALL_KEY
) -> AsyncIterator[Listener]:
    """A client that leaves at the end of the block."""
    one = Listener(world, activity, last, key)
    one.task = asyncio.create_task(one.call())
    yield one
    one.left.set()
    await one.end()
