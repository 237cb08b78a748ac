"""Two relays on Apache Kafka, one of which breaks off."""

from __future__ import annotations

import asyncio
import random

from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.ports import Bus
from services.runtime.clock import RealClock
from services.runtime.relay import Relay, SilentRelay
from services.runtime.settings import Settings
from tests.kafka.reading import bus_of, read_all, settings_for
from tests.lifecycle.support import TroubledStore, until
from tests.runtime.test_relay import fill, left


class Tally(SilentRelay):
    """How many rows went out."""

    def __init__(self) -> None:
        self.rows = 0

    def published(self, topic: str, rows: int) -> None:
        self.rows += rows


def member(store: TroubledStore, bus: Bus, settings: Settings, owner: str, tally: Tally) -> Relay:
    return Relay(
        store=store,
        bus=bus,
        clock=RealClock(),
        chance=random.Random(1),
        settings=settings,
        topics=Topics(settings.topic_prefix),
        owner=owner,
        metrics=tally,
        page=50,
    )


async def test_changes_of_an_activity_come_in_order_whichever_relay_relays(
    kafka: str, topic_prefix: str
) -> None:
    """One relay dies with a page in hand; the other takes its shards over when the lease is out."""
    settings = await settings_for(kafka, topic_prefix, relay_lease=1.5, relay_poll=0.02)
    store, tally, lone = TroubledStore(), Tally(), Tally()
    await fill(store, 3000, activities=40)
    async with bus_of(settings) as first, bus_of(settings) as second:
        one, two = member(store, first, settings, "r1", lone), member(store, second, settings, "r2", tally)
        dying, living = asyncio.create_task(one.run()), asyncio.create_task(two.run())
        await until(lambda: lone.rows >= 200, "it has relayed some")
        dying.cancel()
        async with asyncio.timeout(PATIENCE):
            while await left(store):  # noqa: ASYNC110 (the other relay empties it)
                await asyncio.sleep(0.05)
        two.stop()
        await living
        assert tally.rows > 0
    records = await read_all(kafka, Topics(topic_prefix).changes, max(3000, lone.rows + tally.rows))
    seen: dict[bytes, list[int]] = {}
    for record in records:
        number = int(record.value.strip(b'"'))
        if number not in (order := seen.setdefault(record.key, [])):
            order.append(number)
    assert sum(len(order) for order in seen.values()) == 3000
    assert all(order == sorted(order) for order in seen.values())
