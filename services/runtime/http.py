"""Every service's HTTP side: `/healthz`, `/readyz`, `/metrics` (design.md §7)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from services.ports import Clock
from services.runtime.parts import Service

READY_DEADLINE = 3.0
"""Seconds in which the dependencies must answer `/readyz`."""


class AddressError(Exception):
    """LIVECARD_HTTP cannot be served; the text says why and what to do."""


def split_address(address: str, variable: str = "LIVECARD_HTTP") -> tuple[str, int]:
    """`host:port` → (host, port); raises `AddressError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise AddressError(f"{variable}: {address!r} is not host:port, such as 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


class HealthServer:
    """Answers for all services of the process; more routes may be added before `start`."""

    def __init__(
        self,
        address: str,
        services: Callable[[], Sequence[Service]],
        registry: CollectorRegistry,
        clock: Clock,
        stalled_after: float,
    ) -> None:
        self.host, self.port = split_address(address)
        self._services, self._registry = services, registry
        self._clock, self._stalled_after = clock, stalled_after
        self.app = web.Application()
        self.app.router.add_get("/healthz", self._healthz)
        self.app.router.add_get("/readyz", self._readyz)
        self.app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen; raises `AddressError` for a port in use or an address that is not ours."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self.host}:{self.port}"
            if error.errno == errno.EADDRINUSE:
                raise AddressError(
                    f"{where} is in use, perhaps by another livecard: stop that one or set LIVECARD_HTTP"
                ) from None
            raise AddressError(f"cannot listen on {where}: {error.strerror}; set LIVECARD_HTTP") from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        """200 while every loop has moved lately; 503 names those that stand still, with ages in s."""
        now = self._clock.monotonic()
        ages = {
            f"{service.name}.{loop}": round(now - moved, 3)
            for service in self._services()
            for loop, moved in service.marks().items()
        }
        stalled = sorted(name for name, age in ages.items() if age > self._stalled_after)
        return _json({"alive": not stalled, "stalled": stalled, "ages": ages}, ok=not stalled)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """200 when every service can do its work; 503 says what each waits for."""
        answers = await asyncio.gather(*(_ask(service) for service in self._services()))
        waiting = {name: why for name, why in answers if why is not None}
        ready = bool(answers) and not waiting
        return _json({"ready": ready, "waiting": waiting}, ok=ready)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _ask(service: Service) -> tuple[str, str | None]:
    try:
        async with asyncio.timeout(READY_DEADLINE):
            return service.name, await service.ready()
    except TimeoutError:
        return service.name, f"no answer within {READY_DEADLINE:g} s"


def _json(body: Mapping[str, object], *, ok: bool) -> web.Response:
    status = 200 if ok else 503
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
