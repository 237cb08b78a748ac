"""The three engines behind one face, on a clock that a test moves; and a scene to play on."""

from __future__ import annotations

import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from contracts.events import Event
from contracts.records import Record
from contracts.times import SECOND, format_rfc3339
from contracts.wechat import Verdict
from services.store.open import open_store
from services.store.ports import Store, Tx
from services.store.rows import CHANGES, SHARDS, Card, OutboxRow, ParkedRow, Writes
from services.transactions.apply import Applied, Arrival, apply, read_arrival
from services.transactions.claim import CardRules, Claimed, claim
from services.transactions.ledger import read_ledger
from services.transactions.settle import Look, Settled, settle
from services.transactions.timers import Fired, fire_due
from statemachine.model import Rules
from statemachine.plan import Call
from tests.verification.dict_store.store import MemoryStore

START = 1_795_248_000 * SECOND
"""2026-11-21T08:00:00Z, a full minute."""
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
STANDING = "(SELECT us FROM standing_clock)"
"""The database's clock in these tests, as SQL."""
DROP_ALL = (
    "TRUNCATE inbox, activities, members, parked, outbox, attempts, gates, counters, relays RESTART IDENTITY"
)


class _Undo(Exception):
    """Leaves a transaction."""


@asynccontextmanager
async def rolled_back(store: Store) -> AsyncIterator[Tx]:
    """A transaction that ends by an exception."""
    with contextlib.suppress(_Undo):
        async with store.transaction() as tx:
            yield tx
            raise _Undo


async def parked(tx: Tx, *activities: str) -> list[ParkedRow]:
    """All that waits for these activities' openings."""
    return await tx.parked([each.key for each in await tx.waiting(activities)])


class Bench(ABC):
    """One engine, empty; `another` is a second process on the same data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.now = START
        self._opened: list[Store] = []
        self.store: Store

    async def begin(self) -> None:
        """Open the first store."""
        self.store = await self.another(slot=0)

    async def another(self, *, slot: int = 1, **options: Any) -> Store:
        """A store of another process."""
        store = await self._open(slot, **options)
        self._opened.append(store)
        return store

    @abstractmethod
    async def _open(self, slot: int, **options: Any) -> Store: ...

    async def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += round(seconds * SECOND)

    async def close(self) -> None:
        """Give everything back."""
        for store in self._opened:
            await store.close()


class MemoryBench(Bench):
    """The dict store: every process has the same object."""

    def __init__(self) -> None:
        super().__init__("memory")
        self._shared = MemoryStore(lambda: self.now)

    async def _open(self, slot: int, **options: Any) -> Store:
        return self._shared


class SqliteBench(Bench):
    """A file of this test's own."""

    def __init__(self, path: Path) -> None:
        super().__init__("sqlite")
        self._path = path
        self._run("CREATE TABLE standing_clock (us INTEGER)")
        self._run("INSERT INTO standing_clock VALUES (?)", START)

    def _run(self, statement: str, *parameters: Any) -> None:
        connection = sqlite3.connect(self._path)
        with connection:
            connection.execute(statement, parameters)
        connection.close()

    async def _open(self, slot: int, **options: Any) -> Store:
        return await open_store(f"sqlite+aiosqlite:///{self._path}", slot=slot, now=STANDING, **options)

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        self._run("UPDATE standing_clock SET us = ?", self.now)


class PostgresBench(Bench):
    """The session's migrated database, emptied."""

    def __init__(self, url: str) -> None:
        super().__init__("postgres")
        self.url = url

    async def begin(self) -> None:
        self.admin = await asyncpg.connect(self.url.replace("postgresql+asyncpg://", "postgresql://"))
        await self.clear()
        await super().begin()

    async def clear(self) -> None:
        """An empty database again, at the start of time."""
        self.now = START
        await self.admin.execute(f"{DROP_ALL}; UPDATE relay_leases SET owner = '', until = 0")
        await self.admin.execute("UPDATE standing_clock SET us = $1", START)

    async def _open(self, slot: int, **options: Any) -> Store:
        return await open_store(self.url, slot=slot, **{"now": STANDING, **options})

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        await self.admin.execute("UPDATE standing_clock SET us = $1", self.now)

    async def close(self) -> None:
        await super().close()
        await self.admin.close()


class Scene:
    """Events in, claims and answers of WeChat's: the verbs with everything dull filled in."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.store = bench.store
        self.rules = Rules()
        self.cards = CardRules()
        self.offset = 0
        self._names: list[str] = []

    def record(self, value: bytes | None, headers: tuple[Any, ...] = ()) -> Record:
        """A record with coordinates of its own."""
        self.offset += 1
        return Record("activity.events", 0, self.offset, b"key", value, headers)

    def event(
        self, kind: str, activity: str, id_: str = "", *, time: int | None = None, **data: Any
    ) -> Arrival:
        """One event, through the real decoder; `time` µs, now when not given."""
        body = {
            "specversion": "1.0",
            "id": id_ or f"e{self.offset + 1}",
            "source": "/tests",
            "type": f"livecard.{kind}",
            "subject": activity,
            "time": format_rfc3339(self.bench.now if time is None else time),
            "data": data,
        }
        return read_arrival(self.record(msgspec.json.encode(body)))

    def opened(self, activity: str, id_: str = "", *, life: float = 86_400, **data: Any) -> Arrival:
        """An opening for everyone; `life` and `deadline` in seconds from now."""
        for name in {"deadline"} & data.keys():
            data[name] = format_rfc3339(self.bench.now + round(data[name] * SECOND))
        data = {"appid": "wx1", "template": "complete", "choose": "everyone", **data}
        expires_at = format_rfc3339(self.bench.now + round(life * SECOND))
        return self.event("activity.opened", activity, id_, expires_at=expires_at, **data)

    def completed(self, activity: str, *members: str, id_: str = "", time: int | None = None) -> Arrival:
        """Members who are done."""
        return self.event("participant.completed", activity, id_, time=time, members=list(members))

    async def feed(self, *arrivals: Arrival, store: Store | None = None) -> Applied:
        """One batch."""
        self._names += [each.content.activity_id for each in arrivals if isinstance(each.content, Event)]
        return await apply(store or self.store, arrivals, self.rules)

    async def open(self, *activities: str, **data: Any) -> None:
        """Open them, each with an event of its own."""
        await self.feed(*(self.opened(name, **data) for name in activities))

    async def complete(self, activity: str, *members: str) -> Applied:
        """One completion."""
        return await self.feed(self.completed(activity, *members))

    async def close(self, activity: str) -> Applied:
        """The organiser closes it."""
        return await self.feed(self.event("activity.closed", activity))

    async def tick(self) -> Fired:
        """What the clock does."""
        return await fire_due(self.store, 100, self.rules)

    async def claim(self, *activities: str, holder: str = "h1", limit: int = 100) -> list[Claimed]:
        """Those of them that could be taken."""
        claims = await claim(
            self.store, activities, holder=holder, limit=limit, room={}, default_room=100, rules=self.cards
        )
        return claims.cards

    def look(self, claimed: Claimed, verdict: Verdict | None = Verdict.ok, **more: Any) -> Look:
        """What a call with everybody owed, in the card's state, came to."""
        target = {"open": 1, "nearing": 2, "ended": 3}[claimed.card.state]
        call = Call(target, tuple(each.group_openid for each in claimed.owed))
        return Look(claimed, **{"call": call, "sent": verdict is not None, "verdict": verdict, **more})

    async def settle(self, *looks: Look) -> list[Settled]:
        """As the dispatcher does."""
        return await settle(self.store, looks, self.cards)

    async def deliver(self, activity: str, verdict: Verdict = Verdict.ok, **more: Any) -> Settled:
        """Claim, call, settle: once."""
        (claimed,) = await self.claim(activity)
        (settled,) = await self.settle(self.look(claimed, verdict, **more))
        return settled

    async def card(self, activity: str) -> Card:
        """The card as it is."""
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity], wait=True)
        return card

    async def change(self, activity: str, change: Callable[[Card], None]) -> None:
        """Change a card behind everybody's back."""
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity], wait=True)
            change(card)
            await tx.write(Writes(cards=[card]))

    async def set(self, activity: str, **values: Any) -> None:
        """Set columns of a card behind everybody's back."""

        def put(card: Card) -> None:
            for name, value in values.items():
                setattr(card, name, value)

        await self.change(activity, put)

    async def outbox(self) -> list[OutboxRow]:
        """Everything that waits to be published, in order."""
        return await self.store.outbox(range(SHARDS), 100_000)

    async def changes(self, activity: str) -> list[str]:
        """The ids of the activity's changes, without the activity's own."""
        rows = [row for row in await self.outbox() if row.topic == CHANGES and row.activity_id == activity]
        return [row.id.removeprefix(f"{activity}:") for row in rows]

    async def counters(self) -> dict[str, int]:
        """The ledger's counters other than 0."""
        counters, _, _ = await self.store.totals()
        return {name: value for name, value in counters.items() if value}

    async def balance(self) -> None:
        """The ledger balances: asked after every scenario."""
        ledger = await read_ledger(self.store)
        assert ledger.problems == ()
        async with self.store.transaction() as tx:
            cards = await tx.lock_cards(self._names, wait=True)
        for card in cards:  # the partial indexes know by this alone who is behind
            assert (card.behind_since is not None) == card.behind, card
