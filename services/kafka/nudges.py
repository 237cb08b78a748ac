"""Consumes nudges, best effort: the dispatcher's poll finds what is missed here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import UnknownTopicOrPartitionError

from contracts.nudge import Nudge, decode_nudge
from contracts.topics import Topics
from services.kafka.errors import brief, no_topic
from services.kafka.options import kafka_options
from services.kafka.patches import header_names
from services.kafka.patches.leaving import leave
from services.kafka.ports import Headers
from services.runtime.ports import SELDOM, Clock
from services.runtime.settings import Settings

LOG = structlog.get_logger("livecard.bus")

POLL: Final = 1.0
"""Seconds a poll waits for nudges."""
MOST: Final = 5000
"""Most nudges handed over together."""
WAIT: Final = 5.0
"""Seconds before joining again after a failure."""


class NudgeConsumer:
    """A member of `group` on `card.nudges`, from the latest on, offsets committed by themselves.

    `on_nudges` is called with every batch and must not wait; before it `on_headers`, where it is given, with
    each nudge that has headers. Never dies: it joins again.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        on_nudges: Callable[[list[Nudge]], None],
        clock: Clock,
        on_headers: Callable[[Nudge, Headers], None] | None = None,
    ) -> None:
        self._settings, self._group = settings, group
        self._on_nudges, self._on_headers = on_nudges, on_headers
        self._topic = Topics(settings.topic_prefix).nudges
        self._task: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._waiting: str | None = "has not joined the nudges' consumer group yet"
        self._clock = clock
        self._polled: float | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Begin to consume; returns at once. Raises `BrokerError` for wrong settings."""
        options = kafka_options(self._settings)
        header_names.install()
        self._task = asyncio.create_task(self._run(options), name="nudges")

    async def stop(self) -> None:
        """Leave the group, within a few seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._leaving is not None:
            await asyncio.wait([self._leaving])

    def waiting(self) -> str | None:
        """None while it is a member of its group; otherwise why not, in plain words."""
        return self._waiting

    @property
    def moved(self) -> float:
        """When it last polled (monotonic seconds); while it is no member, now: it may wait for a broker."""
        return self._clock.monotonic() if self._polled is None else self._polled

    async def _run(self, options: dict[str, Any]) -> None:
        while True:
            try:
                await self._serve(options)
            except Exception as error:  # noqa: BLE001 (best effort never dies)
                missing = isinstance(error, UnknownTopicOrPartitionError)
                why = no_topic(self._topic) if missing else brief(error)
                self._waiting = f"receives no nudges: {why}"
                LOG.warning(
                    "no nudges for now: the dispatcher's poll finds the cards", error=why, every=SELDOM
                )
            await asyncio.sleep(WAIT)

    async def _serve(self, options: dict[str, Any]) -> None:
        session = round(self._settings.kafka_session * 1000)
        consumer = self._consumer = AIOKafkaConsumer(
            self._topic,
            **options,
            group_id=self._group,
            auto_offset_reset="latest",
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 3,
        )
        try:
            await consumer.start()
            self._waiting = None
            while consumer.partitions_for_topic(self._topic):
                self._polled = self._clock.monotonic()
                batches = await consumer.getmany(timeout_ms=round(POLL * 1000), max_records=MOST)
                records = [record for batch in batches.values() for record in batch]
                if nudges := [nudge for record in records if (nudge := self._read(record)) is not None]:
                    self._on_nudges(nudges)
            raise UnknownTopicOrPartitionError  # it was deleted, and a member would wait for ever
        finally:
            self._polled = None
            self._leaving = asyncio.create_task(leave(consumer))
            await asyncio.shield(self._leaving)

    def _read(self, record: ConsumerRecord[bytes, bytes]) -> Nudge | None:
        nudge = decode_nudge(record.value)
        if nudge is not None and self._on_headers is not None and record.headers:
            self._on_headers(nudge, tuple(record.headers))
        return nudge
