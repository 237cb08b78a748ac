"""A bad line to the gateway: it loses an answer, turns a request away, and cuts a stream, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

CREATE = "/v1/activities"


class BadLine:
    """A proxy; `keys` are the idempotency keys of the creation's tries, `resumed` the streams' last ids."""

    def __init__(self, gateway: str, session: aiohttp.ClientSession) -> None:
        self._gateway, self._session = gateway, session
        self.keys: list[str] = []
        self.resumed: list[str | None] = []
        self.cut_after = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if request.path.endswith("/events"):
            return await self._stream(request)
        if request.method == "POST" and request.path == CREATE:
            self.keys.append(request.headers["Idempotency-Key"])
            if len(self.keys) == 2:
                return web.Response(status=503, headers={"Retry-After": "1"})
        status, body, headers = await self._ask(request)
        if len(self.keys) == 1 and request.path == CREATE:
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
        """Pass it on; the first one is cut behind the first change."""
        self.resumed.append(request.headers.get("Last-Event-ID"))
        ask = self._session.get(self._gateway + request.raw_path, headers=_passed(request))
        async with ask as answer:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            name = ""
            async for line in answer.content:
                await stream.write(line)
                name = line.decode().removeprefix("id:").strip() if line.startswith(b"id:") else name
                if name and not line.strip() and len(self.resumed) == 1:
                    self.cut_after = name
                    _cut(request)
                    break
            return stream


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
async def bad_line(gateway: str) -> AsyncIterator[tuple[BadLine, str]]:
    """The line, and its address."""
    async with aiohttp.ClientSession() as session:
        line = BadLine(gateway, session)
        application = web.Application()
        application.router.add_route("*", "/{any:.*}", line.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield line, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
