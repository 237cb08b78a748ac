"""What the console shows of the whole, kept in the process: however many look, the store is asked the same
few bounded questions, some seconds apart."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from services.gateway.console.fresh import Fresh
from services.runtime.ports import Clock
from services.store.ports import Store, StoreUnavailable
from services.store.pulse import CallCount, Standing
from services.transactions.overview import Overview, overview, read_oldest, read_standings
from services.transactions.views import CardView
from statemachine.card import DeliveryRules
from statemachine.gate import MINUTE

SOON: Final = 2.0
"""Seconds for which gates and cards are shown as they were read."""
LATER: Final = 10.0
"""The same for calls and counters."""
EVERY: Final = 15.0
"""Seconds between two looks at how late the cards are, whether somebody looks or not."""
SHOWN: Final = 60
"""Minutes of a plot."""
SETTLED: Final = 1
"""Minutes after its end in which calls of a minute may still be logged."""
MINUTE_CALLS: Final = 20_000
"""Calls of one minute that are counted."""
READING: Final = 40_000
"""Calls after which a reading stops; the next one goes on."""
MOST_VIEWS: Final = 1_000
"""Sets of apps whose cards are kept."""


class MinuteCalls(msgspec.Struct, frozen=True):
    """The calls of one minute, by app; it is `whole` once no more can come."""

    apps: Mapping[str, CallCount]
    whole: bool


class MinuteView(msgspec.Struct, frozen=True):
    """One minute of some apps, from `at` (µs): calls, those confirmed, and the age of the oldest undelivered
    card (µs) as far as this process has seen it. None: not known."""

    at: int
    calls: int | None
    confirmed: int
    longest: int
    lateness: int | None


class Watch:
    """One for a process. Times are the database's."""

    def __init__(self, store: Store, clock: Clock, rules: DeliveryRules) -> None:
        self._store, self._clock, self._rules = store, clock, rules
        self._standings = Fresh(clock, SOON, self._read_standings)
        self._calls = Fresh(clock, LATER, self._read_calls)
        self.counters = Fresh(clock, LATER, store.counters)
        self._cards: dict[frozenset[str], Fresh[list[CardView]]] = {}
        self._minutes: dict[int, MinuteCalls] = {}
        self._lateness: dict[int, dict[str, int]] = {}

    def forget(self) -> None:
        """Somebody changed something: the next to ask has it read."""
        self._standings.forget()
        self._cards.clear()

    async def observe(self) -> None:
        """Remember how late the cards are."""
        await self._standings.get()

    async def overview(self, appids: Collection[str]) -> Overview:
        """These apps, a few seconds old at most."""
        standings, now = await self._standings.get()
        apps = frozenset(appids)
        if len(self._cards) >= MOST_VIEWS:
            self._cards.clear()
        cards = self._cards.get(apps)
        if cards is None:
            cards = Fresh(self._clock, SOON, lambda: read_oldest(self._store, apps, self._rules))
            self._cards[apps] = cards
        return overview(standings, await cards.get(), apps, now or self._clock.wall(), self._rules)

    async def minutes(self, appids: Collection[str]) -> list[MinuteView]:
        """The last hour of these apps, oldest first."""
        now = await self._calls.get()
        return [self._minute(at, appids) for at in range(now - SHOWN + 1, now + 1)] if now else []

    def _minute(self, at: int, appids: Collection[str]) -> MinuteView:
        known = self._minutes.get(at)
        calls = [each for app, each in known.apps.items() if app in appids] if known else []
        late = self._lateness.get(at)
        return MinuteView(
            at * MINUTE,
            None if known is None else sum(each.calls for each in calls),
            sum(each.confirmed for each in calls),
            max((each.longest for each in calls), default=0),
            None if late is None else max((age for app, age in late.items() if app in appids), default=0),
        )

    async def _read_standings(self) -> tuple[list[Standing], int]:
        standings, now = await read_standings(self._store)
        if now:
            minute = now // MINUTE
            late = self._lateness.setdefault(minute, {})
            for each in standings:
                if each.undelivered_since is not None:
                    age = max(0, now - each.undelivered_since)
                    late[each.gate.appid] = max(age, late.get(each.gate.appid, 0))
            self._lateness = {at: ages for at, ages in self._lateness.items() if at > minute - SHOWN}
        return standings, now

    async def _read_calls(self) -> int:
        """Newest minutes first; a minute that is over is read once. The minute that is now."""
        _, now = await self._standings.get()
        current, read = now // MINUTE, 0
        self._minutes = {at: each for at, each in self._minutes.items() if current - SHOWN < at <= current}
        for at in range(current, current - SHOWN if now else current, -1):
            known = self._minutes.get(at)
            if known is not None and known.whole and at < current - SETTLED:  # or the clock was set back
                continue
            if read >= READING:
                break
            found = await self._store.calls_between(at * MINUTE, (at + 1) * MINUTE, MINUTE_CALLS)
            self._minutes[at] = MinuteCalls({each.appid: each for each in found}, at < current - SETTLED)
            read += sum(each.calls for each in found)
        return current


class WatchService:
    """Looks now and then, so that the plot of lateness is there when somebody comes."""

    name = "console"

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping.is_set():
            with suppress(StoreUnavailable):  # the next look finds it, and readiness tells
                await self._watch.observe()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._stopping.wait()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """None: nothing depends on it."""
        return {}

    async def ready(self) -> str | None:
        """Always."""
        return None
