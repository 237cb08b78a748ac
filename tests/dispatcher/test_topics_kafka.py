"""The dispatcher's topic changes while it reads it: deleted, made anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.dispatcher.app import DispatcherService
from services.dispatcher.metrics import NoMetrics
from services.dispatcher.quotas import QuotaWatch
from services.kafka import nudges as nudges_module
from services.kafka.nudges import NudgeConsumer
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from statemachine.card import DeliveryRules
from tests.dispatcher.scripted import ScriptedWeChat
from tests.dispatcher.world import World
from tests.kafka.reading import bus_of, settings_for
from tests.lifecycle.test_topics_kafka import administering
from tests.verification.dict_store.store import MemoryStore


class WeChat(ScriptedWeChat):
    """Has no connections."""

    async def close(self) -> None:
        """Nothing to close."""


class Woken:
    """How often nudges came."""

    times = 0


@asynccontextmanager
async def dispatching(settings: Settings) -> AsyncIterator[tuple[World, DispatcherService, Woken]]:
    """A dispatcher's service in real time; the world feeds it, and only its poll and nudges wake it."""
    clock, woken = RealClock(), Woken()
    world = World(MemoryStore(clock.wall, rules=DeliveryRules()), clock)
    world.wechat = WeChat()
    dispatcher = world.dispatcher()

    def on_nudges(_: object) -> None:
        woken.times += 1
        dispatcher.wake()

    group = Topics(settings.topic_prefix).dispatcher_group
    nudges = NudgeConsumer(settings, group, on_nudges, clock)
    quotas = QuotaWatch(world.store, world.wechat, world.apps, clock, settings, metrics=NoMetrics())
    service = DispatcherService(dispatcher, nudges, quotas, world.wechat, world.apps)  # type: ignore[arg-type]  # scripted
    running = asyncio.create_task(service.run())
    try:
        yield world, service, woken
    finally:
        service.stop()
        await running


async def test_a_topic_of_nudges_that_is_deleted_and_made_anew_is_joined_again(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ready meanwhile, and its poll finds the cards; nudges wake it again by themselves."""
    assert nudges_module.WAIT <= 5
    monkeypatch.setattr(nudges_module, "WAIT", 0.2)
    settings, topics = await settings_for(kafka, topic_prefix, partitions=1), Topics(topic_prefix)
    async with dispatching(settings) as (world, service, woken):

        async def ready() -> bool:
            return await service.ready() is None

        await world.until(ready, PATIENCE)
        async with administering(kafka) as admin:
            await admin.delete_topics([topics.nudges])
        await world.until(lambda: "does not exist" in (service._nudges.waiting() or ""), PATIENCE)
        assert topics.nudges in (await service.ready() or "")
        names = await world.owe(3)
        await world.until(lambda: {call.activity_id for call in world.wechat.calls} == {*names}, PATIENCE)
        await settings_for(kafka, topic_prefix, partitions=1)
        await world.until(ready, PATIENCE)
        async with bus_of(settings) as bus:

            async def nudged() -> bool:
                bus.nudge(topics.nudges, {"a0": 2})  # the first ones may come before its position is known
                return woken.times > 0

            await world.until(nudged, PATIENCE)
