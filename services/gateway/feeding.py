"""The feed as a service of its process: the tail that fills it, and its drain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.gateway.feed import Feed
from services.kafka.tail import Tail


class FeedService:
    """Reads `activity.changes` until `stop`, which ends all streams."""

    name = "feed"

    def __init__(self, feed: Feed, tail: Tail) -> None:
        self._feed, self._tail = feed, tail
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._tail.start()
        try:
            await self._stopping.wait()
        finally:
            await self._tail.stop()

    def stop(self) -> None:
        """End the streams: their clients go on at another gateway."""
        self._feed.close()
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When the tail last moved."""
        return {"changes": self._tail.moved}

    async def ready(self) -> str | None:
        """Always: without Kafka only streams have to wait, and are told so. All else needs but the store."""
        return None
