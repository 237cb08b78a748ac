"""Two dispatchers race for the same rows on a real PostgreSQL, in real time."""

from __future__ import annotations

from contracts.events import Closed, Completed
from services.runtime.clock import RealClock
from services.store.open import migrate, open_store
from tests.dispatcher.world import World


async def test_two_dispatchers_on_postgresql_repeat_nobody_and_hurry_the_ends(postgres_database: str) -> None:
    await migrate(postgres_database)
    store = await open_store(postgres_database)
    world = World(store, clock=RealClock(), coalesce=0.1)
    activities = [f"a{number}" for number in range(20)]
    try:
        async with world.running("d1", "d2"):
            await world.open(*activities)
            for number in range(30):
                await world.feed(*((name, Completed((f"m{number}",))) for name in activities))
            await world.feed(*((name, Closed()) for name in activities))
            await world.until(lambda: all(world.wechat.shown[name] == 3 for name in activities))
            await world.settled(*activities)
        assert len(world.wechat.posts) == 600
        assert set(world.wechat.posts.values()) == {1}
        totals = await world.totals()
        assert totals["settles.stale"] == 0
        assert totals["calls.made"] == len(world.wechat.calls)
        fates = sum(totals[f"revisions.{fate}"] for fate in ("delivered", "superseded", "expired", "dead"))
        assert fates == totals["revisions.raised"]
    finally:
        await store.close()
