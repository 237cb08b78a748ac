"""One batch on its way in: decode → one transaction → dead letters → (offsets) → nudges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from contracts.events import Added, Completed, Event, Opened
from contracts.nudge import Nudge, encode_nudge
from contracts.reading import capped
from contracts.records import Record, dead_headers
from contracts.topics import Topics
from services.kafka.oversized import fitted
from services.kafka.ports import Bus, BusUnavailable, Message
from services.runtime.ports import SELDOM, Chance, Clock, Kick
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.store.rows import InboxKey
from services.transactions.apply import Applied, Arrival, DeadLetter, Failed, TooMuch, apply, read_arrival
from statemachine.model import Rules

LOG = structlog.get_logger("livecard.lifecycle")

ATTEMPT_DEADLINE: Final = 30.0
"""Seconds one attempt at a transaction may take; waiting for the store has no bound."""
FIRST_WAIT: Final = 0.1
"""Seconds before the second attempt, doubled up to `LONGEST_WAIT`; a deadlock needs no more."""
MOST_MEMBERS: Final = 20_000
"""Members named by the events of one transaction (one event may name more): each takes tens of µs, and
PostgreSQL cuts off a transaction that lets it wait for 5 s, so that a heavier one might never succeed."""
PATIENCE: Final = 4
"""Failed attempts after which a batch goes in halves: what no limit foresees may be too much for one
transaction. An outage leaves a few parts behind, each half of the one after it."""
LONGEST_WAIT: Final = 10.0
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


class Unhandled(Exception):
    """The store's code raised what it never should; treated as an outage, so that nothing is lost."""


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
        attempt_deadline: float = ATTEMPT_DEADLINE,
    ) -> None:
        self._store, self._bus, self._relay = store, bus, relay
        self._clock, self._chance = clock, chance
        self._topics, self._rules = topics, rules
        self._metrics: IngestMetrics = metrics or SilentIngest()
        self._attempt_deadline = attempt_deadline
        self.waiting: str | None = None
        self.moved = clock.monotonic()

    async def take(self, records: Sequence[Record]) -> dict[str, int]:
        """Bring a batch in and its dead letters out; when it returns, its offsets may be committed.

        Waits for a store or a broker that is away as long as it takes (`waiting` says so) and never
        skips a record. Answers the nudges to send once the offsets are committed. May be cancelled
        at any moment: what was not committed comes again, what was is then a repeat.
        """
        begun = self.moved = self._clock.monotonic()
        try:
            applied = Applied()
            for arrivals in _bounded([read_arrival(record) for record in records]):
                applied = _joined(applied, await self._apply(arrivals))
            self._relay.kick()
            self._count(applied)
            await self._bury(applied.dead, applied.now)
        finally:
            self.waiting = None
        self._metrics.batch_taken(len(records), self._clock.monotonic() - begun)
        return applied.nudges

    def lag(self, records: Mapping[int, int]) -> None:
        """Tell telemetry how far behind the topic we are, by partition."""
        self._metrics.lag(records)

    def nudge(self, nudges: Mapping[str, int]) -> None:
        """Tell the dispatchers where to look, best effort; after the offsets."""
        if nudges:
            self._bus.nudge(
                self._topics.nudges,
                [Message(name.encode(), encode_nudge(Nudge(name, rev))) for name, rev in nudges.items()],
            )

    async def _apply(self, arrivals: Sequence[Arrival]) -> Applied:
        """One transaction; refused data is bisected, in order, down to the event that is to blame, and
        what is too much for one is halved."""
        try:
            return await self._persist(arrivals)
        except StoreRejected as error:
            if len(arrivals) == 1:
                return await self._give_up(arrivals[0], error)
            LOG.warning("the store refused a batch: bisecting it", events=len(arrivals), error=str(error))
        except TooMuch as error:
            LOG.info("a batch goes in halves", events=len(arrivals), why=str(error), every=SELDOM)
        middle = len(arrivals) // 2
        return _joined(await self._apply(arrivals[:middle]), await self._apply(arrivals[middle:]))

    async def _give_up(self, arrival: Arrival, error: StoreRejected) -> Applied:
        """Dead-letter one event through the store, so that the ledger counts it.

        Where even its `(source, id)` cannot be stored, it counts by its coordinates.
        """
        why = capped(f"the store refused it: {error}")
        where = {
            "topic": arrival.record.topic,
            "partition": arrival.record.partition,
            "offset": arrival.record.offset,
        }
        LOG.error("an event cannot be processed and goes to the dead letters", error=why, **where)
        key: InboxKey | None = arrival.key
        while True:
            content = Failed("unprocessable", why, key)
            try:
                return await self._persist([msgspec.structs.replace(arrival, content=content)])
            except StoreRejected as refused:
                if key is None:
                    await self._wait(0, "store", refused)
                key = None

    async def _persist(self, arrivals: Sequence[Arrival]) -> Applied:
        """Try until the store answers, one way or the other. Several events that fail again and again
        are `TooMuch`, as far as anybody can know."""
        failures = 0
        while True:
            self.moved = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._attempt_deadline):
                    applied = await self._attempt(arrivals)
            except TimeoutError:
                error: Exception = StoreUnavailable(f"no answer within {self._attempt_deadline:g} s")
            except (StoreUnavailable, Unhandled) as unavailable:
                error = unavailable
            else:
                self.waiting = None
                return applied
            failures += 1
            await self._wait(failures, "store", error)
            if failures == PATIENCE and len(arrivals) > 1:
                raise TooMuch(f"failed {failures} times: {error}")

    async def _attempt(self, arrivals: Sequence[Arrival]) -> Applied:
        try:
            return await apply(self._store, arrivals, self._rules)
        except (StoreUnavailable, StoreRejected, TooMuch, TimeoutError):
            raise
        except Exception as error:
            LOG.exception("unexpected failure of the store", every=SELDOM)
            raise Unhandled(f"{type(error).__name__}") from error

    async def _bury(self, dead: Sequence[DeadLetter], now: int) -> None:
        """Dead letters, acknowledged by the broker before the offsets that cover them."""
        if not dead:
            return
        messages = [
            fitted(
                Message(
                    each.record.key,
                    each.record.value,
                    tuple(dead_headers(each.record, each.reason, each.error, now)),
                )
            )
            for each in dead
        ]
        failures = 0
        while True:
            self.moved = self._clock.monotonic()
            try:
                await self._bus.publish(self._topics.dead, messages)
            except BusUnavailable as error:
                failures += 1
                await self._wait(failures, "broker", error)
            else:
                break
        for each in dead:
            self._metrics.dead_lettered(each.reason, 1)

    async def _wait(self, failures: int, what: str, error: Exception) -> None:
        self.waiting = f"waiting for the {what}: {error}"
        self._metrics.waited(what)
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures, 10))
        wait = longest * (0.5 + self._chance.random() / 2)
        if failures != 1:  # a first failure is mostly a deadlock: nothing to talk about
            LOG.warning("a batch waits", what=what, error=str(error), again_in=round(wait, 1), every=SELDOM)
        await asyncio.sleep(wait)

    def _count(self, applied: Applied) -> None:
        self._metrics.outcomes(applied.outcomes)
        if applied.repeats:
            self._metrics.events_repeated(applied.repeats)


def _bounded(arrivals: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    """The batch in order, in as few parts as `MOST_MEMBERS` allows: mostly one."""
    start = weight = 0
    for place, arrival in enumerate(arrivals):
        more = _named(arrival)
        if weight + more > MOST_MEMBERS and place > start:
            yield arrivals[start:place]
            start, weight = place, 0
        weight += more
    yield arrivals[start:]


def _named(arrival: Arrival) -> int:
    """How many members an event names."""
    data = arrival.content.data if isinstance(arrival.content, Event) else None
    if isinstance(data, Completed | Added):
        return len(data.members)
    return len(data.participants) if isinstance(data, Opened) else 0


def _joined(first: Applied, then: Applied) -> Applied:
    return Applied(
        nudges={**first.nudges, **then.nudges},
        dead=[*first.dead, *then.dead],
        outcomes=first.outcomes + then.outcomes,
        repeats=first.repeats + then.repeats,
        now=then.now,
    )
