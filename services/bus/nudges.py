"""Consumes nudges, best effort: what is missed here the dispatcher's sweep finds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from contracts.nudge import Nudge, decode_nudge
from contracts.topics import Topics
from services.bus import lenient
from services.bus.options import BrokerError, kafka_options
from services.ports import Clock
from services.settings import Settings

LOG = structlog.get_logger("livecard.bus")

POLL: Final = 1.0
"""Seconds a poll waits for nudges."""
MOST: Final = 5000
"""Most nudges handed over together."""
WAIT: Final = 5.0
"""Seconds before joining again after a failure."""
LEAVE_DEADLINE: Final = 3.0
"""Seconds for leaving the group."""
READY_DEADLINE: Final = 2.0
"""Seconds the broker has to answer for readiness."""


class NudgeConsumer:
    """A member of `group` on `card.nudges`, from the latest on, offsets committed by themselves.

    `on_nudges` is called with every batch and must not wait. Never dies: it joins again.
    """

    name = "nudges"

    def __init__(
        self,
        settings: Settings,
        group: str,
        on_nudges: Callable[[list[Nudge]], None],
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._group, self._on_nudges = settings, group, on_nudges
        self._topic = Topics(settings.topic_prefix).nudges
        self._clock = clock
        self._moved = clock.monotonic() if clock else 0.0
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._why = "has not joined its consumer group yet"

    async def run(self) -> None:
        """Consume until `stop`."""
        while not self._stopping.is_set():
            serving = asyncio.create_task(self._serve(), name="nudges")
            stopping = asyncio.create_task(self._stopping.wait())
            while not (serving.done() or stopping.done()):
                await asyncio.wait([serving, stopping], timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
                if self._consumer is None:
                    self._mark()
            stopping.cancel()
            if not serving.done():
                serving.cancel()
            try:
                await serving
            except asyncio.CancelledError:
                continue
            except BrokerError:
                raise
            except Exception as error:  # noqa: BLE001 (best effort never dies)
                self._why = f"does not receive nudges: {str(error) or type(error).__name__}"
                LOG.warning("no nudges for now: the sweep finds what they would have told", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), WAIT)

    async def _serve(self) -> None:
        lenient.install()
        session = round(self._settings.kafka_session * 1000)
        consumer = AIOKafkaConsumer(
            self._topic,
            **kafka_options(self._settings),
            group_id=self._group,
            auto_offset_reset="latest",
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 3,
        )
        try:
            await consumer.start()
            self._consumer = consumer
            while True:
                self._mark()
                batches = await consumer.getmany(timeout_ms=round(POLL * 1000), max_records=MOST)
                nudges = [decode_nudge(record.value) for batch in batches.values() for record in batch]
                if known := [nudge for nudge in nudges if nudge is not None]:
                    self._on_nudges(known)
        finally:
            self._consumer = None
            await self._leave(consumer)

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        leaving = asyncio.ensure_future(consumer.stop())
        done, _ = await asyncio.wait([leaving], timeout=LEAVE_DEADLINE)
        if not done:
            leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await leaving

    def _mark(self) -> None:
        if self._clock is not None:
            self._moved = self._clock.monotonic()

    def stop(self) -> None:
        """Leave the group and return."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When it last polled; empty without a clock."""
        return {"nudges": self._moved} if self._clock is not None else {}

    async def ready(self) -> str | None:
        """None once it is a member and the broker answers."""
        consumer = self._consumer
        if consumer is None:
            return self._why
        try:
            async with asyncio.timeout(READY_DEADLINE):
                await consumer.topics()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"Kafka does not answer: {str(error) or type(error).__name__}"
        return None
