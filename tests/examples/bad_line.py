"""A bad line to the gateway: it loses an answer, turns a request away, and cuts a stream, once each.

Or, `mute`, it cuts the stream alone, before any change has passed and after WeChat was told everything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web

CREATE = "/v1/activities"
DELIVERED = "livecard.card.delivered"


class BadLine:
    """A proxy; `keys` are the idempotency keys of the creation's tries, `resumed` the streams' last ids."""

    def __init__(self, gateway: str, session: aiohttp.ClientSession, *, mute: bool) -> None:
        self._gateway, self._session, self._mute = gateway, session, mute
        self.keys: list[str] = []
        self.resumed: list[str | None] = []
        self.cut_after = ""

    def __str__(self) -> str:
        return f"a line that saw keys {self.keys}, last ids {self.resumed}, and cut after {self.cut_after!r}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if request.path.endswith("/events"):
            return await self._stream(request)
        if request.method == "POST" and request.path == CREATE:
            self.keys.append(request.headers["Idempotency-Key"])
            if len(self.keys) == 2 and not self._mute:
                return web.Response(status=503, headers={"Retry-After": "1"})
        status, body, headers = await self._ask(request)
        if len(self.keys) == 1 and request.path == CREATE and not self._mute:
            assert status == 201, body
            _cut(request)  # it was done, and nobody hears of it
        return web.Response(status=status, body=body, headers=headers)

    async def _ask(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        sent = await request.read()
        ask = self._session.request(
            request.method, self._gateway + request.raw_path, data=sent or None, headers=_passed(request)
        )
        async with ask as answer:
            kept = {
                name: answer.headers[name]
                for name in ("Content-Type", "Retry-After")
                if name in answer.headers
            }
            return answer.status, await answer.read(), kept

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Pass it on; the first is cut behind the first change, or has none and is cut when all is told."""
        first = not self.resumed
        self.resumed.append(request.headers.get("Last-Event-ID"))
        ask = self._session.get(self._gateway + request.raw_path, headers=_passed(request))
        async with ask as answer:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            async for frame, event in _events(answer.content):
                change = "id" in event
                if not (first and change and self._mute):
                    for line in frame:
                        await stream.write(line)
                if first and change and (_tells_members(event) or not self._mute):
                    self.cut_after = "" if self._mute else event["id"]
                    _cut(request)
                    break
            return stream


async def _events(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[list[bytes], dict[str, str]]]:
    """Of each its lines, and its fields."""
    frame: list[bytes] = []
    event: dict[str, str] = {}
    async for line in lines:
        frame.append(line)
        name, _, value = line.decode().rstrip("\n").partition(": ")
        event[name] = value
        if not name:
            yield frame, event
            frame, event = [], {}


def _tells_members(event: dict[str, str]) -> bool:
    """Whether WeChat confirmed somebody."""
    return event["event"] == DELIVERED and msgspec.json.decode(event["data"])["data"]["members"] != []


def _passed(request: web.Request) -> dict[str, str]:
    return {
        name: value
        for name, value in request.headers.items()
        if name.lower() in {"authorization", "content-type", "idempotency-key", "last-event-id"}
    }


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()


@asynccontextmanager
async def bad_line(gateway: str, *, mute: bool = False) -> AsyncIterator[tuple[BadLine, str]]:
    """The line, and its address."""
    async with aiohttp.ClientSession() as session:
        line = BadLine(gateway, session, mute=mute)
        application = web.Application()
        application.router.add_route("*", "/{any:.*}", line.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield line, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
