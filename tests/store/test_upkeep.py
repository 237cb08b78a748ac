"""The relay's shards, and what is forgotten with age."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from contracts.times import SECOND
from services.runtime.series import SERIES
from services.store.rows import SHARDS, Attempt, InboxKey, MemberMark, Writes
from services.transactions.ledger import read_ledger
from tests.store.benches import DAY, HOUR, START
from tests.store.support import Scene

LEASE = 10 * SECOND
ALL = list(range(SHARDS))


async def lease(scene: Scene, owner: str) -> list[int]:
    """Renew, take a fair part."""
    return await scene.store.lease_shards(owner, LEASE)


async def test_one_relay_holds_every_shard(scene: Scene) -> None:
    """And keeps them by renewing."""
    assert await lease(scene, "r1") == ALL
    await scene.bench.advance(9)
    assert await lease(scene, "r1") == ALL
    await scene.bench.advance(9)
    assert await lease(scene, "r2") == []


async def test_relays_share_fairly_and_never_hold_the_same_shard(scene: Scene) -> None:
    """A newcomer gets its part as soon as the others have renewed."""
    held: dict[str, list[int]] = {}
    for _ in range(3):
        for owner in ("r1", "r2", "r3"):
            held[owner] = await lease(scene, owner)
            mine = [shard for shards in held.values() for shard in shards]
            assert len(mine) == len(set(mine))
            await scene.bench.advance(0.1)
    assert sorted(shard for shards in held.values() for shard in shards) == ALL
    assert sorted(map(len, held.values())) in ([4, 6, 6], [5, 5, 6])


async def test_what_a_silent_relay_held_is_free_after_its_lease(scene: Scene) -> None:
    """And it counts no more among those who share."""
    assert await lease(scene, "r1") == ALL
    await scene.bench.advance(5)
    assert await lease(scene, "r2") == []
    await scene.bench.advance(5.000001)
    assert await lease(scene, "r2") == ALL
    assert await lease(scene, "r1") == []
    assert len(await lease(scene, "r2")) == 8
    assert len(await lease(scene, "r1")) == 8


async def test_a_relay_that_leaves_gives_everything_back_at_once(scene: Scene) -> None:
    """Its shards and its part."""
    await lease(scene, "r1")
    await lease(scene, "r2")
    await scene.store.release_shards("r1")
    assert await lease(scene, "r2") == ALL
    await scene.store.release_shards("unknown")


async def test_relays_that_come_at_once_never_share_a_shard(scene: Scene) -> None:
    """Whatever the order of their transactions, and nobody is left out for long."""
    stores = [scene.store, await scene.bench.another(), await scene.bench.another()]
    held: list[list[int]] = []
    for _ in range(4):
        held = await asyncio.gather(
            *(store.lease_shards(f"r{n}", LEASE) for n, store in enumerate(stores * 2))
        )
        mine = [shard for shards in held for shard in shards]
        assert len(mine) == len(set(mine))
    assert all(held)
    assert sorted(shard for shards in held for shard in shards) == ALL


async def test_relays_whose_leases_lapsed_together_come_back_together(scene: Scene) -> None:
    """A pause of the whole machine: nobody waits for the other in a ring."""
    stores = [scene.store, await scene.bench.another()]
    for _ in range(10):
        await asyncio.gather(*(store.lease_shards(f"r{n}", LEASE) for n, store in enumerate(stores)))
        await scene.bench.advance(60)


async def prune(scene: Scene, **ages: Any) -> dict[str, int]:
    """Counts of what was deleted, those other than 0; each table has a series of its own from the start."""
    pruned = await scene.store.prune(
        **{"inbox": DAY, "attempts": DAY, "activities": DAY, "limit": 100, **ages}
    )
    assert {(name,) for name in pruned} <= {*SERIES["livecard_pruned_rows"]}
    return {name: count for name, count in pruned.items() if count}


async def test_nothing_young_is_pruned(scene: Scene) -> None:
    """Exactly at its age everything is still there."""
    await scene.open("a", life=100)
    await scene.complete("a", "m")
    await scene.deliver("a")
    await scene.bench.advance(86_400)
    await scene.tick()
    assert await prune(scene) == {}
    await scene.bench.advance(0.001)
    assert await prune(scene) == {"inbox": 2, "attempts": 1}
    await scene.bench.advance(100)
    assert await prune(scene) == {"activities": 1, "members": 1}


async def test_the_inbox_is_pruned_by_arrival_and_bounded_but_parked_rows_stay(scene: Scene) -> None:
    """Forgetting a parked row would count its event twice."""
    await scene.complete("early", "m")
    for n in range(4):
        await scene.open(f"a{n}")
        await scene.bench.advance(1)
    await scene.bench.advance(2 * 86_400)
    assert (await prune(scene, limit=3))["inbox"] == 3
    keys = [InboxKey("/tests", f"e{n}") for n in range(1, 6)]
    left = await scene.store.outcomes(keys)
    assert left == {keys[0]: "parked", keys[4]: "applied"}
    await prune(scene)
    assert await scene.store.outcomes(keys) == {keys[0]: "parked"}
    assert (await prune(scene)).get("inbox") is None


async def test_attempts_are_pruned_by_time_and_bounded(scene: Scene) -> None:
    """The oldest first, whichever was written first; equal rows are different rows."""
    log = [Attempt("a", n, 1, START + at, 1, 1, 0, "ok") for n, at in enumerate((5, 3, 3, 9))]
    twins = [Attempt("a", 7, 1, START, 1, 1, 0, "ok")] * 3
    async with scene.store.transaction() as tx:
        await tx.lock(["a"])
        await tx.write(Writes(attempts=[*log, *twins]))
    await scene.bench.advance(2 * 86_400)
    assert await prune(scene, limit=2) == {"attempts": 2, "unopened": 1}
    assert len(await scene.store.attempts("a", 100)) == 5
    await prune(scene, limit=3)
    assert await scene.store.attempts("a", 100) == [log[3], log[0]]


async def test_an_old_activity_goes_with_everything_about_it(scene: Scene) -> None:
    """Members and attempts are personal data; its pending revisions count as expired."""
    await scene.open("a", life=1_000)
    await scene.open("young")
    await scene.complete("a", "m1")
    await scene.deliver("a")
    await scene.complete("a", "m2")
    await scene.bench.advance(1_000 + 3_600.001)
    assert await prune(scene, activities=HOUR) == {}  # the clock ends it first
    await scene.tick()
    assert (await read_ledger(scene.store)).revisions["pending"] == 2
    assert await prune(scene, activities=HOUR) == {"activities": 1, "members": 2}
    revisions = (await read_ledger(scene.store)).revisions
    assert (revisions["pending"], revisions["expired"]) == (0, 2)
    assert await scene.store.show("a") is None
    assert await scene.store.attempts("a", 10) == []
    async with scene.store.transaction() as tx:
        assert await tx.members([("a", "m1")]) == []
    assert await scene.store.show("young") is not None
    assert [gate.appid for gate in await scene.store.all_gates()] == ["wx1"]


async def test_the_oldest_activities_go_first(scene: Scene) -> None:
    """A bounded round takes those that died first."""
    await scene.feed(*(scene.opened(name, life=100 - n) for n, name in enumerate("abcd")))
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    assert await prune(scene, limit=3) == {"inbox": 3, "activities": 3}
    assert await scene.store.show("a") is not None


async def test_activities_with_many_members_go_in_more_steps(scene: Scene) -> None:
    """A step deletes about as many rows as it may; one activity goes as a whole."""
    await scene.feed(*(scene.opened(name, life=100 + n) for n, name in enumerate("abcd")))
    for name in "abcd":
        await scene.complete(name, *(f"m{n}" for n in range(30)))
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    assert await prune(scene, limit=50) == {"inbox": 8, "activities": 2, "members": 60}
    assert await prune(scene, limit=1) == {"activities": 1, "members": 30}
    assert await prune(scene, limit=50) == {"activities": 1, "members": 30}
    assert await prune(scene) == {}


async def test_pruners_that_come_at_once_share_the_work(scene: Scene) -> None:
    """None waits for another, none fails, and together they leave nothing."""
    for n in range(40):
        await scene.open(f"a{n}", life=100)
        await scene.complete(f"a{n}", "m")
        await scene.deliver(f"a{n}")
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    stores = [scene.store, *[await scene.bench.another() for _ in range(3)]]
    total: Counter[str] = Counter()
    for _ in range(4):
        ages = {"inbox": DAY, "attempts": DAY, "activities": DAY}
        for pruned in await asyncio.gather(*(store.prune(**ages, limit=10) for store in stores)):
            total.update(pruned)
    assert (total["inbox"], total["members"], total["activities"]) == (80, 40, 40)
    assert [await scene.store.attempts(f"a{n}", 1) for n in range(40)] == [[]] * 40


async def test_an_unopened_activity_goes_after_an_hour_unless_something_is_parked(scene: Scene) -> None:
    """A row made on first sight of an event that came to nothing."""
    await scene.complete("waiting", "m")
    async with scene.store.transaction() as tx:
        await tx.lock(["empty"])
    await scene.bench.advance(3600)
    assert await prune(scene) == {}
    await scene.bench.advance(0.001)
    assert await prune(scene) == {"unopened": 1}
    assert await scene.store.show("empty") is None
    assert await scene.store.show("waiting") is not None
    await scene.open("waiting")
    assert (await scene.card("waiting")).revision == 2


async def test_what_is_parked_does_not_keep_younger_unopened_activities(scene: Scene) -> None:
    """Where events may wait for days, those that wait do not fill every bounded round."""
    for n in range(3):
        await scene.complete(f"waiting{n}", "m")
    await scene.bench.advance(1)
    async with scene.store.transaction() as tx:
        await tx.lock(["empty"])
    await scene.bench.advance(3600.001)
    assert await prune(scene, limit=3) == {"unopened": 1}
    assert await scene.store.show("empty") is None
    assert await scene.store.show("waiting0") is not None


async def test_what_is_locked_is_not_pruned(scene: Scene) -> None:
    """Housekeeping waits for nobody, and comes back."""
    if scene.bench.kind == "sqlite":
        return  # one writer at a time: the pruner waits for the writer's end instead
    await scene.open("a", "b", life=10)
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    other = await scene.bench.another()
    async with scene.store.transaction() as tx:
        await tx.lock(["a"])
        pruned = await other.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=10)
        assert pruned["activities"] == 1
    assert await scene.store.show("a") is not None


async def test_a_settle_after_its_activity_was_deleted_is_stale(scene: Scene) -> None:
    """Nothing comes back to life."""
    await scene.open("a", life=100)
    await scene.complete("a", "m")
    (claimed,) = await scene.claim("a")
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    await prune(scene)
    (settled,) = await scene.settle(scene.result(claimed))
    assert settled.stale
    assert await scene.store.show("a") is None


async def test_outcomes_are_those_still_remembered(scene: Scene) -> None:
    """By key."""
    await scene.feed(scene.opened("a", "o"), scene.completed("b", "m", id_="p"))
    keys = [InboxKey("/tests", name) for name in ("o", "p", "x")]
    assert await scene.store.outcomes(keys) == {keys[0]: "applied", keys[1]: "parked"}
    assert await scene.store.outcomes([]) == {}


async def test_marks_for_members_that_are_gone_do_nothing(scene: Scene) -> None:
    """Zero rows is an outcome, not an error."""
    await scene.open("a")
    async with scene.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "nobody", 1, False), MemberMark("x", "m", 1, False)]))
    async with scene.store.transaction() as tx:
        assert await tx.members([("a", "nobody")]) == []
