"""The producer of every service: publications that are acknowledged, nudges that are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from services.kafka.options import BrokerError, kafka_options
from services.kafka.ports import BusUnavailable, Message
from services.kafka.producer import Lane
from services.runtime.settings import Settings

__all__ = ["BrokerError", "BusMetrics", "KafkaBus", "kafka_options"]

LOG = structlog.get_logger("livecard.bus")

PUBLISH_DEADLINE: Final = 15.0
"""Seconds; longer than a cluster is silent when one of its brokers dies (11 s by its defaults)."""
NUDGE_DEADLINE: Final = 5.0
"""Seconds after which a nudge is no longer worth sending: the sweep is faster."""
MOST_NUDGES: Final = 20_000
"""Keys that wait to be nudged; more are dropped."""
NUDGE_PAUSE: Final = 1.0
"""Seconds between tries while nudges fail."""


class BusMetrics(Protocol):
    """What the bus tells telemetry."""

    def nudges_lost(self, count: int) -> None:
        """So many nudges could not be handed over; the sweep finds their cards."""
        ...


class Silent:
    """Tells nobody."""

    def nudges_lost(self, count: int) -> None:
        """Nothing."""


class KafkaBus:
    """`services.kafka.ports.Bus` on Kafka. Connects on first use, so a broker that is away delays nothing."""

    def __init__(self, settings: Settings, metrics: BusMetrics | None = None) -> None:
        self._settings = settings
        self._metrics: BusMetrics = metrics or Silent()
        self._main: Lane | None = None
        self._side: Lane | None = None
        self._waiting: dict[tuple[str, bytes | None], Message] = {}
        self._wake = asyncio.Event()
        self._nudger: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Check the settings; raises `BrokerError` where they are wrong."""
        options = kafka_options(self._settings)
        self._main = Lane(options, idempotent=True, deadline=PUBLISH_DEADLINE)
        self._side = Lane(options, idempotent=False, deadline=NUDGE_DEADLINE)
        self._nudger = asyncio.create_task(self._send_nudges(self._side), name="nudges")

    async def stop(self) -> None:
        """Send what is under way and leave, within a few seconds."""
        if self._nudger is not None:
            self._nudger.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._nudger
        await asyncio.gather(*(lane.close() for lane in (self._main, self._side) if lane is not None))

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See `services.kafka.ports.Bus`; raises `BusUnavailable` after 15 s at the latest."""
        await self._lane().publish(topic, messages)

    def nudge(self, topic: str, messages: Sequence[Message]) -> None:
        """Hand over; the newest message of a key is enough, so those that wait are replaced."""
        for message in messages:
            if len(self._waiting) >= MOST_NUDGES:
                self._metrics.nudges_lost(1)
            else:
                self._waiting[topic, message.key] = message
        self._wake.set()

    async def answers(self) -> None:
        """Whether the broker answers (for readiness); raises `BusUnavailable`."""
        await self._lane().answers()

    def _lane(self) -> Lane:
        if self._main is None:
            raise BusUnavailable("the bus was not started")
        return self._main

    async def _send_nudges(self, lane: Lane) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            topics: dict[str, list[Message]] = {}
            for (topic, _), message in waiting.items():
                topics.setdefault(topic, []).append(message)
            for topic, messages in topics.items():
                try:
                    await lane.publish(topic, messages)
                except BusUnavailable as error:
                    self._metrics.nudges_lost(len(messages))
                    LOG.debug("nudges were lost", count=len(messages), error=str(error))
                    await asyncio.sleep(NUDGE_PAUSE)
                except Exception:
                    self._metrics.nudges_lost(len(messages))
                    LOG.exception("nudges were lost", count=len(messages))
                    await asyncio.sleep(NUDGE_PAUSE)
