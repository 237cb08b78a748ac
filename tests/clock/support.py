"""A clock on the dict store whose time, bus and relay are in the test's hand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from contracts.changes import ActivityChanged, decode_change
from contracts.events import Completed, Event, Opened
from contracts.records import Record
from contracts.times import SECOND
from services.clock.clock import TimerClock
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from services.store.rows import CHANGES, SHARDS
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival
from statemachine.model import Rules
from tests.verification.dict_store.store import MemoryStore

BASE = 1_790_000_000 * SECOND


class Hands:
    """Clock, bus and relay in one, all under the test's hand."""

    def __init__(self) -> None:
        self.now = BASE
        self.nudges: list[Mapping[str, int]] = []
        self.kicks = 0

    def monotonic(self) -> float:
        return self.now / SECOND

    def wall(self) -> int:
        return self.now

    async def publish(self, topic: str, messages: Any) -> None:
        raise AssertionError("the clock publishes nothing but nudges")

    def nudge(self, topic: str, revisions: Mapping[str, int], headers: Any = None) -> None:
        self.nudges.append(revisions)

    def kick(self) -> None:
        self.kicks += 1


def a_clock(hands: Hands, store: Any, **settings: Any) -> TimerClock:
    return TimerClock(
        store=store,
        bus=hands,
        relay=hands,
        clock=hands,
        chance=random.Random(1),
        settings=Settings(**settings),
        rules=Rules(),
        metrics=Metrics(),
    )


async def feed(store: MemoryStore, now: int, name: str, data: Opened | Completed) -> None:
    event = Event("/t", f"{name}-{type(data).__name__}", "t", name, now, data)
    await apply(store, [Arrival(Record("t", 0, 0, b"k", b"{}", (("h", b"v"),)), event)], Rules())


def opened(deadline: int) -> Opened:
    return Opened(
        appid="wx1", template="complete", expires_at=BASE + 86_400 * SECOND, deadline=deadline, notice=600
    )


async def changes(store: MemoryStore) -> list[tuple[str, str]]:
    rows = [row for row in await store.outbox(range(SHARDS), 10_000) if row.topic == CHANGES]
    read = [decode_change(row.body.encode()) for row in rows]
    return [(each.data.state, each.data.reason) for each in read if isinstance(each.data, ActivityChanged)]
