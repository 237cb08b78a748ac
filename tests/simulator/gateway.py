"""A stand-in for livecard's gateway: what was asked of it, and an answer of each route that the page uses."""

from __future__ import annotations

from typing import Any

from aiohttp import web


class StandInGateway:
    """`asked` holds path and body of each request; `refusal` is a status and a problem to answer instead."""

    key = "lck_canary"

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.url = ""
        application = web.Application()
        application.add_routes([web.post("/v1/{path:.*}", self._answer)])
        self._runner = web.AppRunner(application)

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {self.key}"
        self.asked.append((request.raw_path, await request.json()))
        if self.refusal is not None:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        if request.path == "/v1/activities":
            created = {"activity_id": "966/x", "expires_at": "2026-11-22T08:00:00.000Z", "share_menu": {}}
            return web.json_response(created, status=201)
        return web.json_response({"event_id": "e-1"}, status=202)
