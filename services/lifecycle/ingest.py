"""One batch on its way in: decode → transactions → nudges → dead letters → (offsets)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from contracts.events import Event
from contracts.reading import capped
from contracts.records import Record, dead_headers
from contracts.topics import Topics
from services.kafka.oversized import fitted, publish_letters
from services.kafka.ports import NO_HEADERS, Bus, BusUnavailable, Message
from services.lifecycle.dividing import bounded, side_by_side
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock, Kick
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.tracing.ports import Traces
from services.transactions.apply import Applied, DeadLetter, TooMuch, apply
from services.transactions.arrivals import Arrival, Failed, read_arrival
from statemachine.model import Rules

LOG = structlog.get_logger("livecard.lifecycle")

ATTEMPT_DEADLINE: Final = 30.0
"""Seconds one attempt at a transaction may take; waiting for the store has no bound."""
FIRST_WAIT: Final = 0.1
"""Seconds before what was refused even alone is tried again. Doubled by each failure in a row, up to
`LONGEST_WAIT`: a deadlock needs no more."""
PATIENCE: Final = 4
"""Failed attempts after which a batch goes in halves: what no limit foresees may be too much for one
transaction. An outage leaves a few parts behind, each half of the one after it."""
LONGEST_WAIT: Final = 5.0
"""Seconds between attempts while the store or the broker is away."""


class IngestMetrics(Protocol):
    """What ingesting tells telemetry."""

    def batch_taken(self, records: int, seconds: float) -> None:
        """One batch is in, its dead letters acknowledged."""
        ...

    def outcomes(self, outcomes: Mapping[tuple[str, str], int]) -> None:
        """(type, outcome) → how many distinct events."""
        ...

    def events_repeated(self, count: int) -> None:
        """Events taken in before, which changed nothing."""
        ...

    def dead_lettered(self, reason: str, count: int) -> None:
        """Records that went to the dead letters."""
        ...

    def waited(self, what: str) -> None:
        """An attempt failed and the batch waits for `what` (`store`, `broker`)."""
        ...

    def lag(self, records: Mapping[int, int]) -> None:
        """Partition of ours → records in it that are not taken in yet."""
        ...

    def held(self, records: Mapping[int, tuple[int, int]]) -> None:
        """Partition of ours → its last stable offset, records that an open transaction holds back."""
        ...

    def lost(self, records: int) -> None:
        """So many offsets were deleted before they were read."""
        ...


class SilentIngest:
    """Tells nobody."""

    def batch_taken(self, records: int, seconds: float) -> None:
        """Nothing."""

    def outcomes(self, outcomes: Mapping[tuple[str, str], int]) -> None:
        """Nothing."""

    def events_repeated(self, count: int) -> None:
        """Nothing."""

    def dead_lettered(self, reason: str, count: int) -> None:
        """Nothing."""

    def waited(self, what: str) -> None:
        """Nothing."""

    def lag(self, records: Mapping[int, int]) -> None:
        """Nothing."""

    def held(self, records: Mapping[int, tuple[int, int]]) -> None:
        """Nothing."""

    def lost(self, records: int) -> None:
        """Nothing."""


class Ingest:
    """Takes batches in, one at a time. Everything it needs is handed in."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        relay: Kick,
        clock: Clock,
        chance: Chance,
        topics: Topics,
        rules: Rules,
        metrics: IngestMetrics | None = None,
        traces: Traces | None = None,
        attempt_deadline: float = ATTEMPT_DEADLINE,
    ) -> None:
        self._store, self._bus, self._relay = store, bus, relay
        self._clock, self._chance = clock, chance
        self._topics, self._rules = topics, rules
        self._metrics: IngestMetrics = metrics or SilentIngest()
        self._traces = traces
        self._attempt_deadline = attempt_deadline
        self._waits: dict[asyncio.Task[Any] | None, str] = {}
        self.moved = clock.monotonic()

    @property
    def waiting(self) -> str | None:
        """What the batch in hand waits for, in words; None while it goes on."""
        return next(iter(self._waits.values()), None)

    async def take(self, records: Sequence[Record]) -> None:
        """Bring a batch in and its dead letters out; when it returns, its offsets may be committed.

        A large one goes in several transactions side by side: while the database works for one, the next
        is made ready.

        Waits for a store or a broker that is away as long as it takes (`waiting` says so) and never
        skips a record. May be cancelled at any moment: what was not committed comes again, what was
        is then a repeat.
        """
        begun = self._clock.monotonic()
        try:
            for arrivals in bounded([read_arrival(record) for record in records]):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._transact(each)) for each in side_by_side(arrivals)]
                await self._bury([letter for task in tasks for letter in task.result()])
        finally:
            self._waits.clear()
        self._metrics.batch_taken(len(records), self._clock.monotonic() - begun)

    def lag(self, records: Mapping[int, int]) -> None:
        """Tell telemetry how far behind the topic we are, by partition."""
        self._metrics.lag(records)

    def held(self, records: Mapping[int, tuple[int, int]]) -> None:
        """Tell telemetry what open transactions hold back, by partition."""
        self._metrics.held(records)

    def lost(self, records: int) -> None:
        """Tell telemetry of records that were deleted before they were read."""
        self._metrics.lost(records)

    async def _transact(self, arrivals: Sequence[Arrival]) -> list[DeadLetter]:
        """One transaction, tried until it is in, and then its nudges; answers its dead letters.

        A store that fails is tried again. What the store refuses is halved, in order, down to the event
        that is to blame; so is what is too much for one transaction, and what failed `PATIENCE` times.
        """
        failures = refusals = 0
        began = self._clock.monotonic()
        while True:
            self.moved = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._attempt_deadline):
                    applied = await apply(self._store, arrivals, self._rules)
            except TooMuch as error:
                LOG.info("a batch goes in halves", events=len(arrivals), why=str(error), every=SELDOM)
                break
            except StoreRejected as error:
                if len(arrivals) > 1:
                    LOG.warning(
                        "the store refused a batch: bisecting it", events=len(arrivals), error=str(error)
                    )
                    break
                refusals += 1
                if refusals > 2:
                    await self._wait(0, "store", error)
                else:
                    arrivals = [_unprocessable(arrivals[0], error, named=refusals == 1)]
            except Exception as error:  # noqa: BLE001  # also of a bug: nothing may be lost
                failures += 1
                await self._wait(failures, "store", error)
                if failures == PATIENCE and len(arrivals) > 1:
                    break
            else:
                self._taken(arrivals, applied, began)
                return applied.dead
        middle = len(arrivals) // 2
        return [*await self._transact(arrivals[:middle]), *await self._transact(arrivals[middle:])]

    def _taken(self, arrivals: Sequence[Arrival], applied: Applied, began: float) -> None:
        """A transaction is in: who waits for what it left hears of it before the offsets are committed."""
        self._waits.pop(asyncio.current_task(), None)
        headers = NO_HEADERS
        if self._traces is not None:
            headers = self._traces.taken(arrivals, applied, self._clock.monotonic() - began)
        if applied.nudges:
            self._bus.nudge(self._topics.nudges, applied.nudges, headers)
        self._relay.kick()
        self._metrics.outcomes(applied.outcomes)
        if applied.repeats:
            self._metrics.events_repeated(applied.repeats)

    async def _bury(self, dead: Sequence[DeadLetter]) -> None:
        """Dead letters, acknowledged by the broker before the offsets that cover them."""
        if not dead:
            return
        messages = [_letter(each) for each in dead]
        failures = 0
        while True:
            self.moved = self._clock.monotonic()
            try:
                await publish_letters(self._bus, self._topics.dead, messages)
            except BusUnavailable as error:
                failures += 1
                await self._wait(failures, "broker", error)
            else:
                self._waits.pop(asyncio.current_task(), None)
                break
        for each in dead:
            self._metrics.dead_lettered(each.reason, 1)

    async def _wait(self, failures: int, what: str, error: Exception) -> None:
        """Before the next attempt, with backoff."""
        why = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            why = f"no answer within {self._attempt_deadline:g} s"
        elif not isinstance(error, StoreUnavailable | StoreRejected | BusUnavailable):
            LOG.error("unexpected failure of the store", exc_info=error, every=SELDOM)  # nothing may be lost
        self._waits[asyncio.current_task()] = f"waiting for the {what}: {why}"
        self._metrics.waited(what)
        wait = wait_after(failures + 1, FIRST_WAIT, LONGEST_WAIT, self._chance.random())
        if failures != 1:  # a first failure is mostly a deadlock: nothing to talk about
            LOG.warning("a batch waits", what=what, error=why, again_in=round(wait, 1), every=SELDOM)
        await asyncio.sleep(wait)


def _unprocessable(arrival: Arrival, error: StoreRejected, *, named: bool) -> Arrival:
    """The event as a dead letter that goes through the store, so that the ledger counts it.

    Where even its `(source, id)` cannot be stored it is not `named`: it counts by its coordinates.
    """
    record, why = arrival.record, capped(f"the store refused it: {error}")
    LOG.error(
        "an event cannot be processed and goes to the dead letters",
        activity_id=arrival.content.activity_id if isinstance(arrival.content, Event) else None,
        error=why,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )
    return Arrival(record, Failed("unprocessable", why, arrival.key if named else None))


def _letter(dead: DeadLetter) -> Message:
    """What the topic of the dead letters takes."""
    record = dead.record
    headers = tuple(dead_headers(record, dead.reason, dead.error, dead.at))
    return fitted(Message(record.key, record.value, headers))
