"""Events, a store that fails on demand, a bus in memory: what the lifecycle's tests share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from contracts.records import Record
from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.ports import BusUnavailable, Headers, Message
from services.lifecycle.ingest import Ingest
from services.runtime.clock import RealClock
from services.store.ports import Store, StoreRejected, StoreUnavailable, Tx
from services.store.rows import InboxKey
from statemachine.model import Rules
from tests.verification.dict_store.store import MemoryStore
from tests.verification.lives.wire import envelope

NOW = RealClock().wall()
DAY = 86_400 * SECOND


async def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition that tasks or other processes bring about; bounded."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in other processes, too)
            await asyncio.sleep(0.01)
    assert condition(), what


def event(kind: str, id_: str, activity: str, **data: Any) -> bytes:
    """One event of ours, structured."""
    time = format_rfc3339(NOW - SECOND)
    return msgspec.json.encode(envelope(f"livecard.{kind}", activity, ("/tests", id_), time, data))


def opened(activity: str, **data: Any) -> bytes:
    """An opening for everyone."""
    fields = {"appid": "wx1", "template": "complete", "choose": "everyone", **data}
    return event(
        "activity.opened", f"open-{activity}", activity, expires_at=format_rfc3339(NOW + DAY), **fields
    )


def completed(id_: str, activity: str, *members: str) -> bytes:
    """Members who are done."""
    return event("participant.completed", id_, activity, members=list(members) or [f"m-{id_}"])


def record(offset: int, value: bytes | None, key: bytes | None = b"k", headers: Any = ()) -> Record:
    """A record as consumed."""
    return Record("activity.events", 3, offset, key, value, tuple(headers))


class MemoryBus:
    """A bus that keeps what it is given; refuses while `failures` last."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Message]] = []
        self.nudged: dict[str, int] = {}
        self.headers: dict[str, Headers] = {}
        self.failures = 0
        self.tries = 0
        self.before_publish: Callable[[], Any] = lambda: None

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Take everything or nothing."""
        self.tries += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise BusUnavailable("no broker today")
        self.before_publish()
        self.published += [(topic, message) for message in messages]

    def nudge(self, topic: str, revisions: Mapping[str, int], headers: Any = None) -> None:
        """Take everything."""
        self.nudged |= revisions
        self.headers |= headers or {}


class TroubledStore(MemoryStore):
    """The dict store, with an outage, with poison, with a transaction that hangs or is too much for it."""

    def __init__(self) -> None:
        super().__init__(RealClock().wall)
        self.down = False
        self.poison: Callable[[InboxKey], bool] = lambda _key: False
        self.hang = 0
        self.broken = 0
        self.slow = 0.0
        self.most = 1_000_000
        self.entered = 0
        self.batches: list[int] = []

    def transaction(self) -> Any:
        """As asked for."""
        return self._troubled()

    @asynccontextmanager
    async def _troubled(self) -> AsyncIterator[Tx]:
        self.entered += 1
        if self.down:
            raise StoreUnavailable("the store is down")
        if self.broken:
            self.broken -= 1
            raise KeyError("a bug")
        if self.hang:
            self.hang -= 1
            await asyncio.Event().wait()
        async with super().transaction() as tx:
            yield _PickyTx(tx, self)
            await asyncio.sleep(self.slow)

    @property
    def ids(self) -> set[str]:
        """Ids of the events that are in."""
        return {key.id for key in self.inbox}


class _PickyTx:
    def __init__(self, tx: Tx, store: TroubledStore) -> None:
        self._tx, self._store = tx, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> Any:
        if any(self._store.poison(key) for key in keys) and any(activity_ids):
            raise StoreRejected("invalid byte sequence")
        if len(keys) > self._store.most:
            raise StoreUnavailable("terminating connection due to idle-in-transaction timeout")
        self._store.batches.append(len(keys))
        return await self._tx.admit(keys, activity_ids)


class Kicks:
    """Counts kicks."""

    def __init__(self) -> None:
        self.count = 0

    def kick(self) -> None:
        """One more."""
        self.count += 1


def make_ingest(store: Store, bus: Any, topics: Topics | None = None, **options: Any) -> Ingest:
    """An ingest on real time and seeded chance."""
    return Ingest(
        store=store,
        bus=bus,
        relay=Kicks(),
        clock=RealClock(),
        chance=random.Random(1),
        topics=topics or Topics(),
        rules=Rules(),
        **options,
    )
