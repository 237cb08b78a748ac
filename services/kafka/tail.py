"""Reads a whole topic as it grows: every partition, in no consumer group, so each process sees all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.kafka.errors import brief
from services.kafka.options import kafka_options
from services.kafka.patches import header_names, lost_records
from services.kafka.patches.leaving import leave
from services.runtime.ports import SELDOM, Clock
from services.runtime.settings import Settings

LOG = structlog.get_logger("livecard.bus")

BACK: Final = 3_600.0
"""Seconds of the topic's past that are read at the start."""
MOST_BACK: Final = 100_000
"""Records of that past, all partitions together."""
POLL: Final = 1.0
"""Seconds a poll waits for records; then the partitions are looked at again."""
MOST: Final = 500
"""Records of one poll: the others of the process wait while they are handed over."""
FETCH_WAIT: Final = 0.1
"""Seconds a broker may hold a request while it has nothing; meanwhile it is asked for no other partition."""
ASK_DEADLINE: Final = 30.0
"""Seconds for the questions where the partitions begin and end."""
WAIT: Final = 1.0
"""Seconds before beginning again after a failure."""


class Reader(Protocol):
    """Whom a tail tells. Nothing here may wait."""

    def take(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """The next record of a partition."""
        ...

    def begin(self) -> None:
        """What was there at the start has been read: from now on nothing is left out."""
        ...

    def gap(self) -> None:
        """Records were deleted before they were read."""
        ...


class Tail:
    """`start`, then it serves by itself until `stop`. Never dies: it goes on where it was."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        reader: Reader,
        clock: Clock,
        consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        self._settings, self._topic, self._reader, self._clock = settings, topic, reader, clock
        self._make = consumer
        self._task: asyncio.Task[None] | None = None
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] | None = None
        """Of what was there at the start; None while nobody knows."""
        self._began = self._absent = False
        self.moved = clock.monotonic()
        """When its loop last moved (monotonic seconds)."""

    async def start(self) -> None:
        """Begin to read; returns at once. Raises `BrokerError` for wrong settings."""
        options = kafka_options(self._settings)
        header_names.install()
        lost_records.install()
        self._task = asyncio.create_task(self._run(options), name="tail")

    async def stop(self) -> None:
        """Stop reading, within a few seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self, options: dict[str, Any]) -> None:
        while True:
            self.moved = self._clock.monotonic()
            try:
                await self._serve(options)
            except Exception as error:  # noqa: BLE001 (whatever it is, reading begins anew where it was)
                LOG.warning("a topic cannot be read", topic=self._topic, error=brief(error), every=SELDOM)
            await asyncio.sleep(WAIT)

    async def _serve(self, options: dict[str, Any]) -> None:
        consumer = self._make(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # only where an offset of ours is not there any more
            fetch_max_wait_ms=round(FETCH_WAIT * 1000),
        )
        try:
            await consumer.start()
            await consumer._client.add_topic(self._topic)  # noqa: SLF001 (to have its partitions in the metadata)
            while True:
                self.moved = self._clock.monotonic()
                if await self._assigned(consumer):
                    await self._poll(consumer)
                else:
                    await asyncio.sleep(POLL)
        finally:
            await asyncio.shield(leave(consumer))

    async def _assigned(self, consumer: Any) -> bool:
        """Have all partitions that there are; a topic that is gone keeps those that it had."""
        numbers: set[int] = consumer.partitions_for_topic(self._topic) or set()
        held = {place.partition for place in consumer.assignment()}
        if not numbers:
            self._absent = bool(self._next)
            return bool(held)
        if self._absent:  # perhaps it was made anew, and our offsets mean other records
            self._absent = False
            self._reader.gap()
        if numbers == held:
            return True
        self._tell_gaps(consumer)
        if gone := self._next.keys() - numbers:
            self._next = {number: at for number, at in self._next.items() if number not in gone}
            self._reader.gap()
        places = {number: TopicPartition(self._topic, number) for number in sorted(numbers)}
        if new := [place for number, place in places.items() if number not in self._next]:
            async with asyncio.timeout(ASK_DEADLINE):
                await self._place(consumer, new)
        consumer.assign(list(places.values()))
        for number, place in places.items():
            consumer.seek(place, self._next[number])
        return True

    async def _place(self, consumer: Any, new: list[TopicPartition]) -> None:
        """Where to begin: at first not too far back; later, in a partition that was added, at its start."""
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(new)
        if self._ends is None:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(new)
            since = await self._an_hour_ago(consumer, ends)
            most = max(1, MOST_BACK // len(new))
            begins = {
                place: min(end, max(begins[place], end - most, since[place])) for place, end in ends.items()
            }
            self._ends = {place.partition: end for place, end in ends.items()}
        self._next |= {place.partition: begin for place, begin in begins.items()}

    async def _an_hour_ago(self, consumer: Any, ends: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offsets; the end where nothing is so young. The embedded broker, which knows no times, says so too:
        it is as old as this process."""
        at = max(0, self._clock.wall() // 1000 - round(BACK * 1000))
        found = await consumer.offsets_for_times(dict.fromkeys(ends, at))
        return {place: end if (each := found[place]) is None else each.offset for place, end in ends.items()}

    async def _poll(self, consumer: Any) -> None:
        batches = await consumer.getmany(timeout_ms=round(POLL * 1000), max_records=MOST)
        self._tell_gaps(consumer)
        for place, records in batches.items():
            for record in records:
                self._reader.take(place.partition, record.key, record.value)
            self._next[place.partition] = records[-1].offset + 1
        if not self._began:
            async with asyncio.timeout(ASK_DEADLINE):
                self._began = await self._caught_up(consumer)
            if self._began:
                self._reader.begin()
        await asyncio.sleep(0)  # what is there already is handed over without a wait

    async def _caught_up(self, consumer: Any) -> bool:
        ends = self._ends or {}
        for place in consumer.assignment():
            if await consumer.position(place) < ends.get(place.partition, 0):
                return False
        return True

    def _tell_gaps(self, consumer: Any) -> None:
        """Offsets that the broker had no more: our absence was longer than retention, or the topic is new."""
        known = consumer._subscription.subscription  # noqa: SLF001 (nothing public tells)
        if known is None or known.assignment is None:
            return
        states = [known.assignment.state_value(place) for place in known.assignment.tps]
        if jumps := [jump for state in states for jump in lost_records.jumps(state)]:
            LOG.warning("records were deleted before they were read", topic=self._topic, jumps=jumps)
            self._ends = {}  # a new topic may never grow so far
            self._reader.gap()
