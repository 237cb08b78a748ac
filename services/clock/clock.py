"""Fires timers, buries events that waited too long, prunes old rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from contracts.topics import Topics
from services.kafka.ports import Bus
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.transactions.bury_parked import bury_parked
from services.transactions.fire_due import fire_due
from statemachine.model import Rules

LOG = structlog.get_logger("livecard.clock")

BATCH: Final = 500
"""Most timers in one transaction, and most rows of a table in one step of pruning."""
BURY_EVERY: Final = 5.0
"""Seconds between looks for events that waited too long for their `opened`."""
LOCKED: Final = 0.01
"""Seconds until what is due, and was not to be had, is asked for again: somebody has its row locked."""
FIRST_WAIT: Final = 1.0
"""Seconds after a first failure, doubled up to `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 5.0
"""Seconds between tries while the store is away."""


class ClockMetrics(Protocol):
    """What the clock tells telemetry."""

    def timer_fired(self, lateness: float) -> None:
        """One activity moved, `lateness` seconds after its due time."""
        ...

    def dead_lettered(self, reason: str, count: int) -> None:
        """Events that went to the dead letters through the outbox."""
        ...

    def pruned(self, table: str, rows: int) -> None:
        """Rows deleted by age."""
        ...


class TimerClock:
    """One replica of the clock. Everything it needs is handed in."""

    name = "clock"

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        relay: Kick,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        rules: Rules,
        metrics: ClockMetrics,
    ) -> None:
        self._store, self._bus, self._relay = store, bus, relay
        self._clock, self._chance = clock, chance
        self._settings, self._rules, self._metrics = settings, rules, metrics
        self._nudges = Topics(settings.topic_prefix).nudges
        self._stopping = asyncio.Event()
        self._moved = clock.monotonic()
        self._failures = 0
        self._waiting = ""
        self._bury_at = self._prune_at = 0.0

    async def run(self) -> None:
        """Fire what is due, round after round, until `stop`; a store that is away is waited for."""
        while not self._stopping.is_set():
            self._moved = self._clock.monotonic()
            try:
                wait = await self.round()
                self._failures, self._waiting = 0, ""
            except (StoreUnavailable, StoreRejected) as error:
                self._failures += 1
                self._waiting = str(error)
                wait = wait_after(self._failures, FIRST_WAIT, LONGEST_WAIT, self._chance.random())
                LOG.warning(
                    "the store did not take a round of timers",
                    error=str(error),
                    wait=round(wait, 1),
                    every=SELDOM,
                )
            self._moved = self._clock.monotonic()
            await self._rest(wait)

    async def round(self) -> float:
        """Everything that is due now; answers how many seconds to rest."""
        while True:
            fired = await fire_due(self._store, BATCH, self._rules)
            self._moved = self._clock.monotonic()
            for lateness in fired.lateness:
                self._metrics.timer_fired(lateness / 1_000_000)
            if fired.nudges or fired.closed or fired.warned:
                self._relay.kick()
            if fired.nudges:
                self._bus.nudge(self._nudges, fired.nudges)
            if not fired.more or self._stopping.is_set():
                break
        if await self._housekeeping():
            return 0.0
        due = await self._store.next_due()
        rest = self._settings.tick
        return rest if due is None else min(rest, max(LOCKED, due / 1_000_000))

    async def _housekeeping(self) -> bool:
        """One small step of each kind whose turn it is; whether more is to be done at once.

        Timers come in between, also while weeks of rows are caught up with.
        """
        now = self._clock.monotonic()
        more = False
        if now >= self._bury_at:
            self._bury_at = now + BURY_EVERY  # also if this fails
            if buried := await bury_parked(self._store, self._settings.us("parked_after"), BATCH):
                self._bury_at, more = now, True
                self._metrics.dead_lettered("parked_too_long", buried)
                self._relay.kick()
        if now >= self._prune_at:
            self._prune_at = now + self._settings.prune_every
            if await self._prune():
                self._prune_at, more = now, True
        self._moved = self._clock.monotonic()
        return more

    async def _prune(self) -> bool:
        """Whether there is more: steps that came back half empty have caught up."""
        pruned = await self._store.prune(
            inbox=self._settings.us("keep_inbox"),
            attempts=self._settings.us("keep_attempts"),
            activities=self._settings.us("keep_activities"),
            bindings=self._settings.us("keep_bindings"),
            limit=BATCH,
        )
        for table, rows in pruned.items():
            self._metrics.pruned(table, rows)
        return max(pruned.values(), default=0) >= BATCH // 2

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def stop(self) -> None:
        """Finish the round in hand and return."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When the loop last went round."""
        return {"timers": self._moved}

    async def ready(self) -> str | None:
        """The clock needs the store, and that its last round went well; nudges are best effort."""
        if self._waiting:
            return self._waiting
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        return None
