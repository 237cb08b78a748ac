"""When a lifecycle joins its consumer group, and when it had better not."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from contracts.topics import Topics
from services.lifecycle import consumer
from services.lifecycle.consumer import Consumer
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from services.store.ports import StoreUnavailable
from tests.e2e.line import until
from tests.lifecycle.support import MemoryBus, TroubledStore, make_ingest


class Membership:
    """A subscription that joins at once."""

    made = 0

    def __init__(self, *_: Any) -> None:
        Membership.made += 1
        self.broken, self.assigned, self.polled, self.busy = "", frozenset[Any](), 0.0, False

    async def start(self) -> None:
        """It is a member."""

    def topic_exists(self) -> bool:
        """It does."""
        return True

    async def stop(self, _grace: float) -> None:
        """It is none any more."""

    def tick(self) -> None:
        """Nothing to commit."""

    async def answers(self) -> None:
        """They do."""

    def held(self) -> dict[int, tuple[int, int]]:
        """Nothing is held back."""
        return {}

    async def lag(self) -> dict[int, int]:
        """It is a record behind in partition 0."""
        return {0: 1}


class Store(TroubledStore):
    """One that may be away, or silent."""

    why = ""

    async def ping(self) -> None:
        if self.why == "silent":
            await asyncio.Event().wait()
        if self.why:
            raise StoreUnavailable(self.why)


@pytest.mark.parametrize("why", ["the database has no tables: run `livecard init`", "silent"])
async def test_it_joins_only_once_the_store_answers(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """One with a wrong password would hold partitions that its brothers could read."""
    monkeypatch.setattr(consumer, "Subscription", Membership)
    monkeypatch.setattr(consumer, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(consumer, "LONGEST_WAIT", 0.001)
    monkeypatch.setattr(consumer, "STORE_DEADLINE", 0.01)
    monkeypatch.setattr(Membership, "made", 0)
    store = Store()
    store.why = why
    service = Consumer(
        settings=Settings(kafka="a:9092"),
        topics=Topics(),
        ingest=make_ingest(store, MemoryBus()),
        store=store,
        clock=RealClock(),
        chance=random.Random(1),
    )
    running = asyncio.create_task(service.run())
    told = "is not consuming: " + ("the database gives no answer" if why == "silent" else why)

    async def refused() -> bool:
        return str(await service.ready()).startswith(told)

    await until(refused, "it says what it waits for")
    assert Membership.made == 0
    store.why = ""

    async def joined() -> bool:
        return await service.ready() is None

    await until(joined, "it has joined")
    assert Membership.made == 1
    service.stop()
    await running
