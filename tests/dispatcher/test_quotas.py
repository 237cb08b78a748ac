"""What is left of each app's quota is asked in turn, and the rest of it is kept for ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.times import SECOND
from services.dispatcher.metrics import DispatcherMetrics, NoMetrics
from services.dispatcher.quotas import OFTEN, QuotaWatch
from services.runtime.metrics import Metrics
from services.store.ports import Store, StoreUnavailable
from statemachine.card import DeliveryRules
from statemachine.gate import Gate
from statemachine.gate import saves as saves_now
from statemachine.quota import day_end
from tests.dispatcher.scripted import ScriptedWeChat
from tests.dispatcher.world import LoopClock, Make, World, in_virtual_time
from tests.verification.dict_store.store import MemoryStore


def _world(reserve: int = 0) -> World:
    clock = LoopClock()
    return World(MemoryStore(clock.wall, rules=DeliveryRules()), clock, quota_reserve=reserve)


@asynccontextmanager
async def _watching(
    world: World, store: Store | None = None, metrics: DispatcherMetrics | None = None
) -> AsyncIterator[None]:
    told = metrics or NoMetrics()
    watch = QuotaWatch(
        store or world.store, world.wechat, world.apps, world.clock, world.settings, metrics=told
    )
    asking = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        asking.cancel()


@in_virtual_time()
async def test_every_app_is_asked_about_once_in_a_while() -> None:
    """Every 300 s, and one that is named later, too."""
    world = _world()
    async with _watching(world):
        await asyncio.sleep(601)
        assert world.wechat.quota_asked == 4
        world.apps.known = set()
        await asyncio.sleep(600)
        assert world.wechat.quota_asked == 4
        world.apps.known = {"wx3"}
        await asyncio.sleep(331)
        assert world.wechat.quota_asked == 5


@in_virtual_time()
async def test_nothing_is_told_of_an_app_that_left() -> None:
    """Its last figure would stand for good; the others keep theirs."""
    world, metrics = _world(), Metrics()
    for appid in ("wx1", "wx2"):
        metrics.quota(appid, 7, 1_000)
    async with _watching(world, metrics=metrics):
        await asyncio.sleep(301)
        world.apps.known = {"wx2", "wx3"}
        await asyncio.sleep(31)
        world.apps.known = {"wx2"}
        await asyncio.sleep(31)
    for name in ("livecard_quota_left", "livecard_quota_limit"):
        assert metrics.registry.get_sample_value(name, {"appid": "wx1"}) is None
        assert metrics.registry.get_sample_value(name, {"appid": "wx2"}) is not None


@in_virtual_time()
async def test_the_rest_of_the_quota_is_kept_for_ends() -> None:
    """Of that app alone, until there is more."""
    world = _world(reserve=100)
    world.wechat.quota = {"wx1": 100, "wx2": 101}
    async with _watching(world):
        await world.open("going-on", "ending")
        await world.open("other", appid="wx2")
        await asyncio.sleep(301)
        until = day_end(world.clock.wall())
        assert [gate.saving_until for gate in await world.store.all_gates()] == [until, 0]
        await world.complete("going-on", "m")
        await world.complete("other", "m")
        await world.close("ending")
        async with world.running():
            await world.settled("ending", "other")
            await asyncio.sleep(60)
            assert world.wechat.of("going-on") == []
            world.wechat.quota["wx1"] = 50_000
            await world.settled("going-on", patience=301)


@in_virtual_time()
async def test_an_app_near_its_reserve_is_asked_about_more_often() -> None:
    """By how fast its quota goes; not more often than every `OFTEN` seconds."""
    world = _world(reserve=1_000)
    world.apps.known = {"wx1"}
    asked = 0

    class Spending(ScriptedWeChat):
        async def quota_left(self, appid: str) -> int | None:
            nonlocal asked
            asked += 1
            return max(0, 7_000 - round(10 * world.clock.monotonic()))

    world.wechat = Spending()
    await world.open("a")
    async with _watching(world):

        async def saving() -> bool:
            return bool((await world.gate()).saving_until)

        await world.until(saving, 700.0)
        assert 600 <= world.clock.monotonic() <= 600 + OFTEN + 1
    assert asked < 20


@in_virtual_time()
async def test_a_reserve_is_kept_also_where_little_is_left_at_the_start() -> None:
    """The same when it was refilled: of a figure that rose nothing can be told."""
    world = _world(reserve=1_000)
    world.apps.known = {"wx1"}
    filled = 0.0

    class Spending(ScriptedWeChat):
        def left(self) -> int:
            return 7_000 - round(14 * (world.clock.monotonic() - filled))

        async def quota_left(self, appid: str) -> int | None:
            return max(0, self.left())

    world.wechat = spending = Spending()
    await world.open("a")
    async with _watching(world):

        async def saves() -> bool:
            return saves_now(await world.gate(), world.clock.wall())

        await world.until(saves, 500.0)
        assert 1_000 - 14 * (OFTEN + 2) <= spending.left() <= 1_000
        filled = world.clock.monotonic()

        async def saves_no_more() -> bool:
            return not await saves()

        await world.until(saves_no_more, 301.0)
        await world.until(saves, 500.0)
        assert spending.left() > 0


@in_virtual_time()
async def test_without_a_reserve_one_that_stands_in_the_store_is_taken_back() -> None:
    """It was written before a restart; then by an older process that a rolling deploy has not stopped yet."""
    world = _world()
    await world.open("a")
    world.wechat.quota = {"wx1": 5, "wx2": 5}
    async with _watching(world):
        for _ in range(2):
            await world.store.save_quota("wx1", world.clock.wall() + 3_600 * SECOND)
            await asyncio.sleep(301)
            assert (await world.gate()).saving_until == 0


@in_virtual_time(patience=10_000)
async def test_a_reserve_is_kept_soon_though_the_first_question_was_not_answered() -> None:
    """The next comes after `OFTEN` seconds; while nothing is answered, ever more seldom."""
    world = _world(reserve=100)
    world.apps.known = {"wx1"}
    await world.open("a")
    async with _watching(world):
        await asyncio.sleep(OFTEN)
        assert world.wechat.quota_asked == 1
        world.wechat.quota = {"wx1": 5}
        await asyncio.sleep(OFTEN)
        assert saves_now(await world.gate(), world.clock.wall())
        world.wechat.quota = {}
        asked = world.wechat.quota_asked
        await asyncio.sleep(3_600)
        assert world.wechat.quota_asked - asked <= 3_600 / 300 + 6


class _Wrong(LoopClock):
    """The clock of a host that is so many hours ahead of the database."""

    def __init__(self, hours: int) -> None:
        self.hours = hours

    def wall(self) -> int:
        return super().wall() + self.hours * 3_600 * SECOND


@pytest.mark.parametrize("hours", [-23, 9])
@in_virtual_time(patience=10_000)
async def test_the_day_of_the_reserve_ends_by_the_database_s_clock(make: Make, hours: int) -> None:
    """However wrong the process's is: until the database's midnight in Shanghai."""
    world = await make(quota_reserve=100)
    world.clock = _Wrong(hours)
    world.wechat.quota = {"wx1": 5, "wx2": 500}
    await world.open("a")
    async with _watching(world):
        await asyncio.sleep(20)
        world.wechat.quota = {}
        gate, now = await world.store.gate("wx1")
        assert saves_now(gate, now)
        await asyncio.sleep((day_end(now) - now) / SECOND - 1)
        assert saves_now(*await world.store.gate("wx1"))
        await asyncio.sleep(1)
        assert not saves_now(*await world.store.gate("wx1"))


@in_virtual_time()
async def test_a_store_that_is_away_and_an_answer_that_says_nothing_change_nothing() -> None:
    """The next answer counts."""
    world = _world(reserve=100)
    world.apps.known = {"wx1"}
    await world.open("a")

    class Away:
        away = True

        async def save_quota(self, appid: str, until: int) -> bool:
            if self.away:
                raise StoreUnavailable("away")
            return await world.store.save_quota(appid, until)

        async def gate(self, appid: str) -> tuple[Gate, int]:
            return await world.store.gate(appid)

    store = Away()
    world.wechat.quota = {"wx1": 5}
    async with _watching(world, store):  # type: ignore[arg-type]  # all of it that is used
        await asyncio.sleep(301)
        assert (await world.gate()).saving_until == 0
        store.away = False
        await asyncio.sleep(300)
        kept = (await world.gate()).saving_until
        assert kept > world.clock.wall() + SECOND
        world.wechat.quota = {}
        await asyncio.sleep(300)
        assert (await world.gate()).saving_until == kept
