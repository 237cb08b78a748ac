"""A dispatcher, a scripted WeChat, and time that passes only when all wait."""

from __future__ import annotations

import asyncio
import functools
import random
import selectors
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from contracts.changes import CardDelivered, CardFailed, decode_change
from contracts.events import Closed, Completed, Event, EventData, Opened, Rescheduled
from contracts.records import Record
from contracts.times import SECOND
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.metrics import NoMetrics
from services.runtime.ports import Clock
from services.runtime.process import delivery_rules
from services.runtime.settings import Settings
from services.store.ports import Store
from services.store.rows import CHANGES, SHARDS, Attempt, Writes
from services.tracing.ports import Traces
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival
from services.transactions.claim import claim
from services.transactions.fire_due import fire_due
from services.wechat.ports import WeChat
from statemachine.card import Card, DeliveryRules
from statemachine.gate import Gate
from statemachine.model import Rules
from tests.dispatcher.faulty import FaultyStore
from tests.dispatcher.scripted import ScriptedWeChat

BASE = 1_790_000_000 * SECOND
"""The store's time when a test begins: some Monday of 2026, 26.7 s after a full minute."""


class _Selector(selectors.SelectSelector):
    """Never waits for real: whoever would, moves the loop's time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits for ever")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: a minute of waiting takes no time at all."""

    def __init__(self) -> None:
        self.virtual = _Selector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


def in_virtual_time(
    patience: float = 3_600.0,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run a test's coroutine in virtual time; `patience` bounds it in virtual seconds."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        async def bounded(arguments: dict[str, Any]) -> None:
            try:
                async with asyncio.timeout(patience):
                    await test(**arguments)
            finally:
                if "make" in arguments:
                    await arguments["make"].close()

        @functools.wraps(test)
        def run(**arguments: Any) -> None:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                runner.run(bounded(arguments))

        return run

    return decorate


class LoopClock:
    """The loop's time as a process and the store see it; `back`: seconds by which it was set back."""

    back = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> int:
        return BASE + round((self.monotonic() - self.back) * SECOND)


class BookOfApps:
    """The apps file, by hand."""

    def __init__(self, names: Iterable[str]) -> None:
        self.known = set(names)
        self.renewed: set[str] = set()

    def names(self, appid: str) -> bool:
        return appid in self.known

    def appids(self) -> list[str]:
        return sorted(self.known)

    def refresh(self) -> set[str]:
        renewed, self.renewed = self.renewed, set()
        return renewed


class Relay:
    """Counts kicks."""

    def __init__(self) -> None:
        self.kicks = 0

    def kick(self) -> None:
        self.kicks += 1


class World:
    """Feeds events, runs dispatchers, and waits for conditions in virtual time."""

    def __init__(self, store: Store, clock: Clock | None = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.rules = delivery_rules(self.settings)
        self.clock: Clock = clock or LoopClock()
        self.store = store
        self.front = FaultyStore(self.store)
        self.wechat = ScriptedWeChat()
        self.seen_by: dict[str, WeChat] = {}
        self.apps = BookOfApps(["wx1", "wx2"])
        self.relay = Relay()
        self.traces: Traces | None = None
        self.dispatchers: list[Dispatcher] = []
        self.nudging = True
        self.written: Callable[[], object] = object
        """Says another thing than before once the store was written; by default always."""
        self._events = 0

    def dispatcher(self, name: str = "d1") -> Dispatcher:
        """A dispatcher of its own process, not running yet; `seen_by` may give it a WeChat of its own."""
        return Dispatcher(
            holder=name,
            store=self.front,
            wechat=self.seen_by.get(name, self.wechat),
            apps=self.apps,
            relay=self.relay,
            clock=self.clock,
            chance=random.Random(name),
            settings=self.settings,
            rules=self.rules,
            metrics=NoMetrics(),
            traces=self.traces,
        )

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[Dispatcher]:
        """Run dispatchers (one by default); stop and drain them at the end."""
        fresh = [self.dispatcher(name) for name in names or ("d1",)]
        self.dispatchers += fresh
        tasks = [asyncio.create_task(each.run()) for each in fresh]
        try:
            yield fresh[0]
        finally:
            for each in fresh:
                self.dispatchers.remove(each)
                each.stop()
            for task in tasks:
                await task

    async def feed(self, *said: tuple[str, EventData]) -> None:
        """One batch of events, as the lifecycle takes it in; nudges after the commit."""
        arrivals = []
        for activity_id, data in said:
            self._events += 1
            name = f"e{self._events}"
            event = Event("/test", name, f"test.{type(data).__name__}", activity_id, self.clock.wall(), data)
            arrivals.append(Arrival(Record("t", 0, self._events, None, b"{}"), event))
        applied = await apply(self.store, arrivals, Rules())
        assert not applied.dead
        self.nudge(applied.nudges)

    def nudge(self, nudges: dict[str, int]) -> None:
        if self.nudging and nudges:
            for each in self.dispatchers:
                each.wake()

    async def open(self, *activity_ids: str, appid: str = "wx1", life: float = 86_400.0, **more: Any) -> None:
        """Open activities that everyone may take part in; `life` and `deadline` in seconds from now."""
        now = self.clock.wall()
        if "deadline" in more:
            more["deadline"] = now + round(more["deadline"] * SECOND)
        fields = {"template": "complete", "choose": "everyone", **more}
        data = Opened(appid=appid, expires_at=now + round(life * SECOND), **fields)
        await self.feed(*((name, data) for name in activity_ids))

    async def complete(self, activity_id: str, *members: str) -> None:
        await self.feed((activity_id, Completed(members)))

    async def close(self, activity_id: str) -> None:
        await self.feed((activity_id, Closed()))

    async def reschedule(self, activity_id: str, seconds: float | None, notice: int | None = None) -> None:
        deadline = None if seconds is None else self.clock.wall() + round(seconds * SECOND)
        await self.feed((activity_id, Rescheduled(deadline=deadline, notice=notice)))

    async def tick(self) -> None:
        """What the clock service does: fire timers, close the cards whose id has died."""
        fired = await fire_due(self.store, 100, Rules())
        self.nudge(fired.nudges)

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """A clock that ticks every half second."""

        async def ticks() -> None:
            while True:
                await self.tick()
                await asyncio.sleep(0.5)  # virtual: moves the time on

        task = asyncio.create_task(ticks())
        try:
            yield
        finally:
            task.cancel()

    async def end_with_the_margin(self, latency: float, *members: str) -> None:
        """`a` lives 100 s and ends by itself after 40 s, a second after these members were done."""
        await self.open("a", life=100.0)
        await asyncio.sleep(39)
        self.wechat.latency = latency
        await self.complete("a", *members)
        await asyncio.sleep(1.5)
        await self.tick()
        await self.settled("a", patience=60)

    async def card(self, activity_id: str) -> Card:
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity_id])
            return card

    async def gate(self, appid: str = "wx1") -> Gate:
        """The app's gate as the store has it."""
        return next(gate for gate in await self.store.all_gates() if gate.appid == appid)

    async def owe(self, count: int, member: str = "m1", appid: str = "wx1", prefix: str = "a") -> list[str]:
        """So many activities of an app with this member to deliver; their names."""
        names = [f"{prefix}{number}" for number in range(count)]
        await self.open(*names, appid=appid)
        await self.feed(*((name, Completed((member,))) for name in names))
        return names

    async def until(self, condition: Callable[[], Any], patience: float = 300.0) -> float:
        """Virtual seconds until the condition (plain or a coroutine function) is true, told a quarter of a
        per cent too late at most: whoever waits long is asked less often, since each time costs real work."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            true = condition()
            if asyncio.iscoroutine(true):
                true = await true
            if true:
                return loop.time() - began
            waited = loop.time() - began
            assert waited < patience, "this never came true"
            await asyncio.sleep(max(0.01, waited / 400))  # virtual: moves the time on

    async def settled(self, *activity_ids: str, patience: float = 300.0) -> float:
        """Until every revision is accounted for and nobody holds a card; seconds it took."""
        seen: object = None

        async def done() -> bool:
            nonlocal seen
            if (written := self.written()) == seen:
                return False  # as when it was read
            seen = written  # before it is read: whatever is written meanwhile, is read next time
            async with self.store.transaction() as tx:
                cards = await tx.lock_cards(activity_ids)
            return not any(card.behind or card.lease_until for card in cards)

        return await self.until(done, patience)

    async def settled_down(self, patience: float = 300.0) -> float:
        """Until nobody holds any card; seconds it took."""

        async def done() -> bool:
            async with self.store.transaction() as tx:
                cards = await tx.lock_cards(sorted({call.activity_id for call in self.wechat.calls}))
            return not any(card.lease_until for card in cards)

        return await self.until(done, patience)

    async def changes(self, activity_id: str, kind: type[Any]) -> list[Any]:
        """What was published about the activity, of one kind, in order."""
        rows = await self.store.outbox(range(SHARDS), 100_000)
        read = [decode_change(row.body.encode()) for row in rows if row.topic == CHANGES]
        return [each.data for each in read if each.activity_id == activity_id and isinstance(each.data, kind)]

    async def delivered(self, activity_id: str) -> list[CardDelivered]:
        return await self.changes(activity_id, CardDelivered)

    async def failed(self, activity_id: str) -> list[CardFailed]:
        return await self.changes(activity_id, CardFailed)

    async def named(self, activity_id: str) -> list[str]:
        """Whom the failures name, sorted."""
        said = [each.members for each in await self.failed(activity_id)]
        return sorted(member for members in said if members for member in members)

    def taken(self) -> set[str]:
        """Whom WeChat took."""
        return {member for call in self.wechat.calls if call.errcode == 0 for member in call.members or ()}

    async def totals(self) -> dict[str, int]:
        """The ledger's counters; those never written count 0."""
        counters, *_ = await self.store.totals()
        return defaultdict(int, counters)

    async def change_card(self, activity_id: str, change: Callable[[Card, int], None]) -> None:
        """Change a row behind the dispatcher's back."""
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity_id])
            change(card, await tx.now())
            await tx.write(Writes(cards=[card]))

    async def doubt(self, activity_id: str, seconds_ago: float) -> None:
        """As a settle without its fence does."""

        def in_doubt(card: Card, now: int) -> None:
            card.doubt_at = now - round(seconds_ago * SECOND)

        await self.change_card(activity_id, in_doubt)
        self.nudge({activity_id: 0})

    async def claim_and_die(self, activity_id: str) -> None:
        """A process takes the card and is never heard of again."""
        claims = await claim(self.store, {"wx1": 1}, holder="dead", limit=1, rules=self.rules)
        assert [each.card.activity_id for each in claims.cards] == [activity_id]

    async def attempts(self, activity_id: str) -> list[Attempt]:
        """The attempt log, oldest first."""
        return (await self.store.attempts(activity_id, 1_000))[::-1]


class Make:
    """The fixture `make`: makes worlds on the store that the test is run with."""

    def __init__(
        self,
        store: Callable[[Callable[[], int], DeliveryRules], Awaitable[Store]],
        written: Callable[[], object] = object,
    ) -> None:
        self._store, self._written = store, written
        self._made: list[Store] = []

    async def __call__(self, **settings: Any) -> World:
        """A world with these settings, within the running loop."""
        clock = LoopClock()
        store = await self._store(clock.wall, delivery_rules(Settings(**settings)))
        self._made.append(store)
        world = World(store, clock, **settings)
        world.written = self._written
        return world

    async def close(self) -> None:
        """Give the stores' connections back."""
        for store in self._made:
            await store.close()
