"""One membership in the consumer group: FastStream's batch subscriber around `Ingest.take`.

FastStream polls, hands over and drains. What it does not do is here: offsets are committed for
exactly what was taken in, a batch in hand outlives no revocation, and while one waits (for the
store, say) its partitions are paused and polling goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from contracts.records import Record
from contracts.topics import Topics
from services.kafka.options import kafka_options
from services.kafka.patches import header_names, lost_records
from services.kafka.patches.leaving import leave
from services.lifecycle.ingest import Ingest
from services.runtime.ports import SELDOM, Clock
from services.runtime.settings import Settings

LOG = structlog.get_logger("livecard.lifecycle")

PUMP: Final = 1.0
"""Seconds a batch may take before its partitions are paused; then the seconds between polls."""
POLL: Final = 1.0
"""Seconds a poll waits for the first record. It never waits for more: a batch is what came while the one
before was taken in."""
FETCH_WAIT: Final = 0.1
"""Seconds a broker may hold a request while it has nothing. Meanwhile aiokafka asks it for no other
partition, so that one whose records were being taken in waits this long for its next ones."""
COMMIT_DEADLINE: Final = 5.0
"""Seconds for committing offsets; what was not committed goes along with the next batch."""
LONGEST_GRACE: Final = 5.0
"""Seconds a rebalance waits, at most, for a batch that is nearly done."""
LEAVE_DEADLINE: Final = 5.0
"""Seconds for leaving the group; a broker that is away cannot be told."""
LONGEST_POLL: Final = 300.0
"""Seconds between polls after which aiokafka leaves the group; paused partitions are polled too."""
NOBODYS: Final = -1
"""No partition has this number."""
HEARTBEATS: Final = 3
"""Heartbeats in one session timeout."""

Batch = tuple["ConsumerRecord[bytes, bytes]", ...]


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's consumer has no types
    """`start`, then it serves by itself until `stop`. Once `broken` says why, it must be replaced."""

    def __init__(self, settings: Settings, topics: Topics, ingest: Ingest, clock: Clock) -> None:
        self._settings, self._topic = settings, topics.events
        self._ingest, self._clock = ingest, clock
        self._grace = min(LONGEST_GRACE, settings.kafka_session / 2)
        self._broker = broker(settings)
        session = round(settings.kafka_session * 1000)
        self._subscriber = self._broker.subscriber(
            topics.events,
            batch=True,
            group_id=topics.lifecycle_group,
            auto_offset_reset="earliest",
            isolation_level="read_committed",  # what a producer's transaction took back never happened
            ack_policy=AckPolicy.MANUAL,
            max_records=settings.batch,
            batch_timeout_ms=round(POLL * 1000),
            fetch_max_wait_ms=round(FETCH_WAIT * 1000),
            session_timeout_ms=session,
            heartbeat_interval_ms=session // HEARTBEATS,
            rebalance_timeout_ms=session + round(self._grace * 1000),
            max_poll_interval_ms=round(LONGEST_POLL * 1000),
            listener=self,
            parser=_parse,
            decoder=_decode,
            no_reply=True,
        )
        self._subscriber(self._handle)
        self._consumer: AIOKafkaConsumer | None = None
        self._in_hand: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._uncommitted: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}  # of what is in hand: it has been fetched, not taken in
        self._settled: dict[TopicPartition, int] = {}
        self._closing = False
        self.assigned: frozenset[TopicPartition] | None = None
        self.polled = self.unassigned_since = clock.monotonic()
        self.broken: str | None = None

    async def start(self) -> None:
        """Join the group; returns with the first assignment. Raises what aiokafka raises."""
        header_names.install()
        lost_records.install()
        await self._broker.start()
        consumer = self._subscriber.consumer
        assert consumer is not None
        self._consumer = consumer
        consumer.getmany = self._watched(consumer.getmany)  # before the poll loop's first step

    async def stop(self, patience: float) -> None:
        """Take nothing more, finish and commit what is in hand within `patience` seconds, leave."""
        self._closing = True
        await self._finish_in_hand(patience)
        consumer = self._consumer or self._subscriber.consumer  # the latter: it never came to an assignment
        if consumer is None:
            with contextlib.suppress(Exception):  # nothing is connected
                await self._broker.stop()
        else:
            await leave(consumer, self._broker.stop(), LEAVE_DEADLINE)

    @property
    def busy(self) -> bool:
        """Whether a batch is in hand."""
        return self._in_hand is not None

    def tick(self) -> None:
        """Now and then: commit what could not be committed after its batch, and what is no record; tell
        what is lost."""
        self._tell_lost()
        self._pass_over()
        self._commit()

    async def answers(self) -> None:
        """Ask the brokers for their metadata over our connections; raises `KafkaError`."""
        if self._consumer is not None:
            await self._consumer.topics()

    def topic_exists(self) -> bool:
        """Whether our topic is among those that the brokers last told of."""
        return self._consumer is None or bool(self._consumer.partitions_for_topic(self._topic))

    async def lag(self) -> dict[int, int]:
        """Partition of ours → records behind its end (committed ones, for us). Raises `KafkaError`."""
        consumer = self._consumer
        if consumer is None or not (places := consumer.assignment()):
            return {}
        ends = await consumer.end_offsets(places)
        behind = {}
        for place in places & consumer.assignment():
            done = self._done.get(place)
            # The position has passed what a transaction took back, and its markers; no record tells of them.
            behind[place.partition] = max(
                0, ends[place] - (await consumer.position(place) if done is None else done)
            )
        return behind

    def _watched(self, getmany: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Polls leave a mark. A poll that failed may have dropped records it had read, with their
        positions moved on: nothing is taken after it, the membership begins anew where it committed."""

        async def watched(*partitions: TopicPartition, **options: Any) -> Any:
            if self._closing or self.broken:
                raise ConsumerStoppedError
            self.polled = self._clock.monotonic()
            try:
                records = await getmany(*partitions, **options)
            except ConsumerStoppedError:
                raise
            except Exception as error:
                self.broken = f"{type(error).__name__}: {error}"
                raise ConsumerStoppedError from error
            self.polled = self._clock.monotonic()
            self._done |= {place: batch[0].offset for place, batch in records.items() if batch}
            return records

        return watched

    async def _handle(self, batch: Batch) -> None:
        """The whole life of one batch: taken in and committed, or dropped uncommitted."""
        if self._closing or self.broken or not batch:
            return
        taking = self._in_hand = asyncio.create_task(self._take(batch), name="batch")
        try:
            while not (await asyncio.wait([taking], timeout=PUMP))[0]:
                await self._poll_paused()
            if not taking.cancelled() and (error := taking.exception()):
                self.broken = f"{type(error).__name__}: {error}"  # never skip: begin anew where it committed
                LOG.error("a batch failed unexpectedly", exc_info=error)
        finally:
            taking.cancel()
            self._in_hand = None
            self._resume()

    async def _take(self, batch: Batch) -> None:
        await self._ingest.take([_record(each) for each in batch])
        offsets = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in batch}
        self._uncommitted |= offsets
        self._settled |= offsets
        for place in offsets:
            self._done.pop(place, None)
        self._commit()

    def _tell_lost(self) -> None:
        """Records that were deleted before we read them, or a topic that was made anew behind our back."""
        for place in self.assigned or ():
            state = self._state(place)
            for wanted, found in [] if state is None else lost_records.jumps(state):
                where = {"topic": place.topic, "partition": place.partition, "wanted": wanted, "found": found}
                if found > wanted:
                    LOG.error("records were deleted before they were read: retention is too short", **where)
                    self._ingest.lost(found - wanted)
                else:
                    LOG.warning("the partition ends before our offset: was the topic made anew?", **where)

    def held(self) -> dict[int, tuple[int, int]]:
        """Partition of ours → its last stable offset, and how many records an open transaction of a producer
        holds back behind it. As of the last fetch."""
        found = {}
        for place in self.assigned or ():
            state = self._state(place)
            if state is not None and state.lso is not None and state.lso >= 0:
                found[place.partition] = state.lso, max(0, state.highwater - state.lso)
        return found

    def _pass_over(self) -> None:
        """Offsets behind the last record that hold none (aborted events, markers) are taken in, too: the
        group's lag, as others see it, is 0 at the end. aiokafka leaves this to its user (its issue 911)."""
        if self.assigned is None or self._closing or self.broken or self._in_hand is not None:
            return
        for place, settled in list(self._settled.items()):
            state = self._state(place)
            if place in self._done or state is None or not state.has_valid_position:
                continue
            if state.position > settled:
                self._uncommitted[place] = self._settled[place] = state.position

    def _state(self, place: TopicPartition) -> Any:
        """What aiokafka knows of a partition of ours; None when it is not ours."""
        assert self._consumer is not None
        known = self._consumer._subscription.subscription  # noqa: SLF001 (nothing public tells without waiting)
        if known is None or known.assignment is None or place not in known.assignment.tps:
            return None
        return known.assignment.state_value(place)

    def _commit(self) -> None:
        """Commit what is taken in, while the next batch is: each commit is of all there is by then."""
        if self._uncommitted and (self._committing is None or self._committing.done()):
            self._committing = asyncio.create_task(self._commit_all(), name="offsets")

    async def _commit_all(self) -> None:
        """A failure is harmless (a repeat, at worst) and is made good later."""
        assert self._consumer is not None
        while self._uncommitted:
            assigned = self._consumer.assignment()
            ours = {place: offset for place, offset in self._uncommitted.items() if place in assigned}
            try:
                if ours:
                    async with asyncio.timeout(COMMIT_DEADLINE):
                        await self._consumer.commit(ours)
            except (KafkaError, TimeoutError) as error:
                why = str(error) or type(error).__name__
                LOG.warning("offsets could not be committed yet", error=why, every=SELDOM)
                return
            left = self._uncommitted.items()
            self._uncommitted = {place: offset for place, offset in left if ours.get(place, offset) < offset}

    async def _poll_paused(self) -> None:
        """Stay a living member while a batch takes long.

        Asked for is a partition that nobody has. A poll of paused ones throws away what was fetched ahead,
        megabytes in circles of references, which the collector finds late, and has them fetched again.
        """
        consumer = self._consumer
        if consumer is None or self._closing:
            return
        with contextlib.suppress(KafkaError, TimeoutError, ConsumerStoppedError):
            assigned = consumer.assignment()
            if assigned:
                consumer.pause(*assigned)
                async with asyncio.timeout(PUMP):
                    await consumer.getmany(TopicPartition(self._topic, NOBODYS), timeout_ms=0)

    def _resume(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.resume(*self._consumer.paused())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """A rebalance begins: the batch in hand is finished if that takes moments, else dropped."""
        self.assigned, self.unassigned_since = None, self._clock.monotonic()
        await self._finish_in_hand(self._grace)
        self._uncommitted.clear()
        self._done.clear()
        self._settled.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """We are (again) a member; positions are the committed offsets."""
        self.assigned = frozenset(assigned)
        LOG.info("joined", topic=self._topic, partitions=sorted(place.partition for place in self.assigned))

    async def _finish_in_hand(self, patience: float) -> None:
        """Wait for the batch unless it is waiting itself, and for its offsets; when time is up it is
        dropped uncommitted."""
        until = self._clock.monotonic() + patience
        while (taking := self._in_hand) is not None and not taking.done():
            if self._ingest.waiting or self._clock.monotonic() >= until:
                taking.cancel()
                await asyncio.wait([taking])
                LOG.info("a batch in hand was dropped uncommitted", waiting=self._ingest.waiting)
            else:
                await asyncio.wait([taking], timeout=0.05)
        if (committing := self._committing) is not None and not committing.done():
            await asyncio.wait([committing], timeout=max(0.0, until - self._clock.monotonic()))
            committing.cancel()
            await asyncio.wait([committing])


def broker(settings: Settings) -> KafkaBroker:
    """FastStream's broker, for consuming only: no producer, no admin client, no pydantic."""
    options = kafka_options(settings)
    logger = logging.getLogger("livecard.faststream")  # below its own name, lines would pass `logs` by
    logger.setLevel(logging.ERROR)  # it warns at every start that it creates no topics
    logger.addFilter(_cut_off)
    return KafkaBroker(
        options["bootstrap_servers"],
        client_id=options["client_id"],
        request_timeout_ms=options["request_timeout_ms"],
        metadata_max_age_ms=options["metadata_max_age_ms"],
        security=_security(options),
        consumer_only=True,
        apply_types=False,
        graceful_timeout=settings.drain,
        logger=logger,
    )


def _cut_off(line: logging.LogRecord) -> bool:
    """FastStream takes a batch that we cut off when asked twice to leave for an error."""
    return not (line.exc_info and isinstance(line.exc_info[1], asyncio.CancelledError))


def _security(options: dict[str, Any]) -> BaseSecurity:
    context = options.get("ssl_context")
    encrypted = context is not None
    if not options["security_protocol"].startswith("SASL"):
        return BaseSecurity(context, encrypted)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    kind = kinds[options["sasl_mechanism"]]
    return kind(options["sasl_plain_username"], options["sasl_plain_password"], context, encrypted)


def _record(raw: ConsumerRecord[bytes, bytes]) -> Record:
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers))


async def _parse(batch: Batch) -> KafkaMessage:
    """FastStream's envelope; headers are not looked at, whatever is in them."""
    name = f"{batch[0].topic}/{batch[0].partition}/{batch[0].offset}"
    return KafkaMessage(batch, b"", consumer=FAKE_CONSUMER, correlation_id=name, message_id=name)


async def _decode(message: KafkaMessage) -> Any:
    """The records as they came: decoding is `Ingest`'s."""
    return message.raw_message
