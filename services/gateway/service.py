"""The gateway as a service of its process: what stands before the API, and its drain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog
from litestar import Litestar

from services.gateway.dependencies import Gateway
from services.gateway.front import Front
from services.gateway.keys import ApiKeys

LOG = structlog.get_logger("livecard.gateway")

REFRESH: Final = 1.0
"""Seconds between two looks at the files of keys, apps and session keys."""


class GatewayService:
    """`asgi` answers whatever is not health or metrics, on the address of the process."""

    name = "gateway"

    def __init__(self, app: Litestar, gateway: Gateway, keys: ApiKeys) -> None:
        self._gateway, self._keys = gateway, keys
        self.asgi = Front(app, gateway)
        self._moved = gateway.clock.monotonic()

    async def run(self) -> None:
        """Keep keys and apps fresh until `stop`; then take nothing more and finish what is in hand."""
        if not len(self._keys):
            LOG.warning("there is no API key, so every request is refused: `livecard key NAME` makes one")
        stopping = self._gateway.stopping
        while not stopping.is_set():
            self._moved = self._gateway.clock.monotonic()
            self._keys.refresh()
            self._gateway.apps.refresh()
            if self._gateway.session_keys is not None:
                self._gateway.session_keys.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await stopping.wait()
        await self.asgi.drained()
        await self._gateway.wechat.close()

    def stop(self) -> None:
        """Drain."""
        self._gateway.stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When it last looked at its files."""
        return {"keys": self._moved}

    async def ready(self) -> str | None:
        """None unless it drains; `/readyz` names store and broker by themselves."""
        return "it drains" if self._gateway.stopping.is_set() else None
