"""The lifecycle as a service: keeps one membership in the consumer group alive, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from contracts.topics import Topics
from services.kafka.errors import brief, no_topic
from services.lifecycle.ingest import Ingest
from services.lifecycle.subscription import Subscription
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock
from services.runtime.settings import Settings
from services.store.ports import Store, StoreUnavailable, answers

LOG = structlog.get_logger("livecard.lifecycle")

TICK: Final = 1.0
"""Seconds between looks at the membership."""
FIRST_WAIT: Final = 0.5
"""Seconds before trying to join again, doubled up to `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 5.0
"""Seconds between tries to join."""
LAG_EVERY: Final = 10.0
"""Seconds between asking how far behind the topic we are."""
PROBE_EVERY: Final = 30.0
"""Seconds between asking the brokers for their metadata."""
PROBE_DEADLINE: Final = 5.0
"""Seconds they have for it."""
PATIENCE: Final = 60.0
"""Seconds without an assignment, or without an answer to probes, after which we begin anew."""
STORE_DEADLINE: Final = 5.0
"""Seconds the store has to answer before we join."""
READY_DEADLINE: Final = 2.0
"""Seconds the broker has to answer for readiness."""
RESERVE: Final = 6.0
"""Seconds of the drain that are kept for leaving the group."""


class Consumer:
    """The lifecycle's service; everything it needs is handed in."""

    name = "lifecycle"

    def __init__(
        self,
        *,
        settings: Settings,
        topics: Topics,
        ingest: Ingest,
        store: Store,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._settings, self._topics, self._ingest = settings, topics, ingest
        self._store, self._clock, self._chance = store, clock, chance
        self._stopping = asyncio.Event()
        self._membership: Subscription | None = None
        self._joining: str = "has not joined its consumer group yet"
        self._moved = clock.monotonic()

    async def run(self) -> None:
        """Consume until `stop`: neither an absent broker nor a failed join ends it."""
        failures = 0
        while not self._stopping.is_set():
            begun = self._clock.monotonic()
            why = await self._member()
            if why is None:
                break
            if self._clock.monotonic() - begun > 2 * PATIENCE:
                failures = 0  # it had worked for a while
            failures += 1
            wait = wait_after(failures, FIRST_WAIT, LONGEST_WAIT, self._chance.random())
            self._joining = f"is not consuming: {why}"
            LOG.warning("not consuming; trying again", error=why, again_in=round(wait, 1), every=SELDOM)
            self._moved = self._clock.monotonic()
            await self._rest(wait)

    async def _member(self) -> str | None:
        """One membership from joining to leaving; says why it ended, None when asked to stop.

        Who cannot reach the store, or finds it not migrated, would hold partitions that others could read.
        """
        if (why := await self._storeless()) is not None:
            return why
        membership = Subscription(self._settings, self._topics, self._ingest, self._clock)
        joining = asyncio.create_task(membership.start(), name="join")
        try:
            why = await self._join(joining)
            if why is None:
                self._membership = membership
                why = await self._watch(membership)
            return None if self._stopping.is_set() else why
        finally:
            self._membership = None
            joining.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await joining
            await membership.stop(max(1.0, self._settings.drain - RESERVE))

    async def _storeless(self) -> str | None:
        """None when the store answers, otherwise in words."""
        try:
            await answers(self._store, STORE_DEADLINE)
        except StoreUnavailable as error:
            return str(error)
        return None

    async def _join(self, joining: asyncio.Task[None]) -> str | None:
        while not joining.done():
            self._moved = self._clock.monotonic()
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([joining, stopping], timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if self._stopping.is_set():
                return "asked to stop"
        error = joining.exception()
        if isinstance(error, UnknownTopicOrPartitionError):
            return self._no_topic()
        if error is not None:
            return f"Kafka at {self._settings.kafka}: {brief(error)}"
        return None

    def _no_topic(self) -> str:
        return no_topic(self._topics.events)

    async def _watch(self, membership: Subscription) -> str:
        """Look after a membership until it is of no use any more, or we are asked to stop."""
        answered = probed = self._clock.monotonic()
        measured = probed - LAG_EVERY
        while not self._stopping.is_set():
            await self._rest(TICK)
            membership.tick()
            now = self._clock.monotonic()
            if membership.broken:
                return membership.broken
            if not membership.topic_exists():
                return self._no_topic()
            if membership.assigned is None:
                self._moved = now
                if now - membership.unassigned_since > max(PATIENCE, 3 * self._settings.kafka_session):
                    return "no partitions since the last rebalance"
            else:
                self._moved = membership.polled
            if now - measured >= LAG_EVERY and membership.assigned is not None:
                measured = now
                await self._measure(membership)
            if now - probed >= PROBE_EVERY:
                probed = now
                if await _answers(membership, PROBE_DEADLINE) is None:
                    answered = self._clock.monotonic()
                elif now - answered > PATIENCE:
                    return "the brokers do not answer where they were"
        return "asked to stop"

    async def _measure(self, membership: Subscription) -> None:
        """How far behind we are; a broker that does not answer leaves the last figure."""
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(PROBE_DEADLINE):
                self._ingest.held(membership.held())
                self._ingest.lag(await membership.lag())

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def stop(self) -> None:
        """Finish and commit what is in hand, leave the group, return."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When it last polled (or, without a membership, last tried), and when the batch in hand last moved:
        one that waits for store or broker moves with each attempt."""
        busy = self._membership is not None and self._membership.busy
        return {"poll": self._moved, "batch": self._ingest.moved if busy else self._clock.monotonic()}

    async def ready(self) -> str | None:
        """None once partitions are assigned, nothing waits, and broker and store answer."""
        membership = self._membership
        if membership is None:
            return self._joining
        if not membership.topic_exists():
            return self._no_topic()
        if membership.assigned is None:
            return "waits for its partitions: the consumer group is rebalancing"
        if self._ingest.waiting:
            return self._ingest.waiting
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        return await _answers(membership, READY_DEADLINE)


async def _answers(membership: Subscription, deadline: float) -> str | None:
    """None when the brokers answer, otherwise in words."""
    try:
        async with asyncio.timeout(deadline):
            await membership.answers()
    except (KafkaError, OSError, TimeoutError) as error:
        return f"Kafka does not answer: {brief(error)}"
    return None
