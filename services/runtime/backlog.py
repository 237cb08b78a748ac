"""Reads the store's backlog now and then, so that metrics tell what is behind and how old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from services.runtime.ports import Clock
from services.store.ports import Backlog, Store, StoreRejected, StoreUnavailable
from services.store.rows import Gate

EVERY: Final = 10.0
"""Seconds between readings."""


class WatchMetrics(Protocol):
    """What the watcher tells telemetry."""

    def backlog(self, backlog: Backlog) -> None:
        """Counts and ages."""
        ...

    def gates(self, gates: list[Gate]) -> None:
        """Every gate as it stands."""
        ...


class Watcher:
    """One per process; its reading is the whole store's, the same in every process."""

    name = "watcher"

    def __init__(self, store: Store, clock: Clock, metrics: WatchMetrics) -> None:
        self._store, self._clock, self._metrics = store, clock, metrics
        self._stopping = asyncio.Event()
        self._moved = clock.monotonic()

    async def run(self) -> None:
        """Read every few seconds; a store that is away leaves the last reading."""
        while not self._stopping.is_set():
            self._moved = self._clock.monotonic()
            try:
                self._metrics.backlog(await self._store.backlog())
                self._metrics.gates(await self._store.all_gates())
            except (StoreUnavailable, StoreRejected):
                pass
            try:
                async with asyncio.timeout(EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Return soon."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When it last began to read: without it every alert about the backlog is blind."""
        return {"backlog": self._moved}

    async def ready(self) -> str | None:
        """Always."""
        return None
