"""Every service's HTTP side: `/healthz`, `/readyz`, `/metrics` (design.md §7)."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from services.runtime.addresses import host_and_port
from services.runtime.health import Health


class AddressError(Exception):
    """LIVECARD_HTTP cannot be served; the text says why and what to do."""


def split_address(address: str, variable: str = "LIVECARD_HTTP") -> tuple[str, int]:
    """`host:port` → (host, port); raises `AddressError`."""
    found = host_and_port(address)
    if found is None:
        raise AddressError(f"{variable}: {address!r} is not host:port, such as 127.0.0.1:8080")
    return found[0].strip("[]") or "127.0.0.1", found[1]


class HealthServer:
    """Answers for all services of the process; more routes may be added before `start`."""

    def __init__(self, address: str, health: Health, registry: CollectorRegistry) -> None:
        self.host, self.port = split_address(address)
        self._health, self._registry = health, registry
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

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        """200 while no loop stands still by its own fault; 503 names those that do, and since when."""
        self._health.notice()
        stalled = self._health.stalled()
        ages = {name: round(age, 3) for name, age in self._health.ages().items()}
        body = {"alive": not stalled, "stalled": sorted(stalled), "why": stalled, "ages": ages}
        return _json(body, ok=not stalled)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """200 when every service can do its work; 503 says what each waits for, and since when.

        Warnings are told with either."""
        self._health.notice()
        waiting = await self._health.waiting()
        body = {
            "ready": not waiting,
            "waiting": waiting,
            "since": self._health.since(),
            "warnings": self._health.warnings(),
        }
        return _json(body, ok=not waiting)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _json(body: Mapping[str, object], *, ok: bool) -> web.Response:
    status = 200 if ok else 503
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
