"""The producer of every service: publications that are acknowledged, nudges that are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

import structlog

from contracts.nudge import Nudge, encode_nudge
from services.kafka.options import BrokerError, kafka_options
from services.kafka.ports import NO_HEADERS, BusUnavailable, Headers, Message
from services.kafka.producer import Publisher
from services.runtime.settings import Settings

__all__ = ["BrokerError", "BusMetrics", "KafkaBus", "kafka_options"]

LOG = structlog.get_logger("livecard.bus")

PUBLISH_DEADLINE: Final = 15.0
"""Seconds; longer than a cluster is silent when one of its brokers dies (11 s by its defaults)."""
NUDGE_DEADLINE: Final = 5.0
"""Seconds after which a nudge is no longer worth sending: the dispatchers' poll is faster."""
MOST_NUDGES: Final = 20_000
"""Activities that wait to be nudged; more are dropped."""
MOST_HEADERS: Final = 16
"""Headers of one nudge: each trace that it tells of takes one or two."""
NUDGE_PAUSE: Final = 1.0
"""Seconds between tries while nudges fail."""


class BusMetrics(Protocol):
    """What the bus tells telemetry."""

    def nudges_lost(self, count: int) -> None:
        """So many nudges could not be handed over; the dispatchers' poll finds their cards."""
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
        self._main: Publisher | None = None
        self._side: Publisher | None = None
        self._waiting: dict[str, dict[str, int]] = {}
        self._headers: dict[str, Headers] = {}
        self._wake = asyncio.Event()
        self._nudger: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Check the settings; raises `BrokerError` where they are wrong."""
        options = kafka_options(self._settings)
        self._main = Publisher(options, idempotent=True, deadline=PUBLISH_DEADLINE)
        self._side = Publisher(options, idempotent=False, deadline=NUDGE_DEADLINE)
        self._nudger = asyncio.create_task(self._send_nudges(self._side), name="nudges")

    async def stop(self) -> None:
        """Send what is under way and leave, within a few seconds."""
        if self._nudger is not None:
            self._nudger.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._nudger
        await asyncio.gather(*(each.close() for each in (self._main, self._side) if each is not None))

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See `services.kafka.ports.Bus`; raises `BusUnavailable` after 15 s at the latest."""
        await self._connected().publish(topic, messages)

    def nudge(
        self, topic: str, revisions: Mapping[str, int], headers: Mapping[str, Headers] = NO_HEADERS
    ) -> None:
        """See `services.kafka.ports.Bus`: of those that wait, the last revision is enough, with the headers
        of all (the last `MOST_HEADERS`)."""
        waiting = self._waiting.setdefault(topic, {})
        waiting |= revisions
        for name, more in headers.items():
            self._headers[name] = (*self._headers.get(name, ()), *more)[-MOST_HEADERS:]
        lost = len(waiting) - MOST_NUDGES
        if lost > 0:
            self._metrics.nudges_lost(lost)
            kept = self._waiting[topic] = dict(islice(waiting.items(), MOST_NUDGES))
            self._headers = {name: each for name, each in self._headers.items() if name in kept}
        self._wake.set()

    async def answers(self) -> None:
        """Whether the broker answers (for readiness); raises `BusUnavailable`."""
        await self._connected().answers()

    def _connected(self) -> Publisher:
        if self._main is None:
            raise BusUnavailable("the bus was not started")
        return self._main

    async def _send_nudges(self, publisher: Publisher) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            headers, self._headers = self._headers, {}
            for topic, revisions in waiting.items():
                messages = [
                    Message(name.encode(), encode_nudge(Nudge(name, revision)), headers.get(name, ()))
                    for name, revision in revisions.items()
                ]
                try:
                    await publisher.publish(topic, messages)
                except BusUnavailable as error:
                    self._metrics.nudges_lost(len(messages))
                    LOG.debug("nudges were lost", count=len(messages), error=str(error))
                    await asyncio.sleep(NUDGE_PAUSE)
                except Exception:
                    self._metrics.nudges_lost(len(messages))
                    LOG.exception("nudges were lost", count=len(messages))
                    await asyncio.sleep(NUDGE_PAUSE)
