"""Walks of two dispatchers: one is frozen past its lease, or a member comes between lock and read."""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.claim import claim
from statemachine.card import CALLING, DUE, IN_SYNC, UNCERTAIN
from statemachine.plan import Call
from statemachine.step import Claimed
from tests.store.benches import STANDING, PostgresBench
from tests.store.support import Scene
from tests.transactions.walking import pending, step, until_due, where


async def frozen_and_taken_over(scene: Scene) -> tuple[Claimed, Claimed]:
    """The first dispatcher's claim, and that of the second, which found the lease lapsed."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (first,) = await scene.claim("a", holder="frozen")
    await scene.bench.advance(31)
    (second,) = await scene.claim("a", holder="alive")
    assert second.card.doubt_at == scene.bench.now
    return first, second


@pytest.mark.parametrize("when", ["while the second calls", "after it settled"])
async def test_frozen_before_the_send(scene: Scene, when: str) -> None:
    """It wakes, sees that its lease is over, sends nothing and gives back what is not its own: no change."""
    first, second = await frozen_and_taken_over(scene)
    if when == "after it settled":
        await scene.settle(scene.result(second))
    before = await scene.card("a")
    (late,) = await scene.settle(scene.result(first, None))
    assert late.stale
    assert await scene.card("a") == before
    if when == "while the second calls":
        await scene.settle(scene.result(second))
    assert await where(scene) is UNCERTAIN  # the lapse was a doubt
    assert await until_due(scene) == 30
    assert await step(scene) == Call(1)
    assert await where(scene) is IN_SYNC
    assert await pending(scene) == 0


@pytest.mark.parametrize("verdict", [Verdict.ok, Verdict.unknown, Verdict.busy])
async def test_frozen_after_the_send_and_back_while_the_second_calls(scene: Scene, verdict: Verdict) -> None:
    """Its call may be applied any time: the second's confirmation is not certain, the state is repeated."""
    first, second = await frozen_and_taken_over(scene)
    await scene.bench.advance(3)
    (late,) = await scene.settle(scene.result(first, verdict))
    assert late.stale
    assert await where(scene) is CALLING
    assert await scene.owed("a") == ([] if verdict is Verdict.ok else ["m1"])
    (good,) = await scene.settle(scene.result(second))
    assert good.delivered
    assert await where(scene) is UNCERTAIN
    assert await until_due(scene) == 30
    assert await step(scene) == Call(1)
    assert await where(scene) is IN_SYNC
    assert await pending(scene) == 0


async def test_frozen_after_the_send_and_back_when_all_is_settled(scene: Scene) -> None:
    """The card was certain already: it is uncertain again, and news does not wait for its repair."""
    first, second = await frozen_and_taken_over(scene)
    await scene.settle(scene.result(second))
    await until_due(scene)
    await step(scene)
    assert await where(scene) is IN_SYNC
    (late,) = await scene.settle(scene.result(first))
    assert late.stale
    assert await where(scene) is UNCERTAIN
    await scene.complete("a", "m2")
    assert await step(scene) == Call(1, ("m2",))
    assert await where(scene) is UNCERTAIN
    assert await until_due(scene) == 30
    assert await step(scene) == Call(1)
    assert await where(scene) is IN_SYNC
    assert (await scene.counters())["settles.stale"] == 1
    assert await pending(scene) == 0


async def test_frozen_with_a_call_for_a_state_that_is_past(scene: Scene) -> None:
    """It sends 2 when the card shows 1 again: `may_show` knows, and the repair lowers it."""
    await scene.open("a", deadline=3_600, notice=600)
    await scene.bench.advance(3_000)
    await scene.tick()
    (first,) = await scene.claim("a", holder="frozen")
    assert first.call == Call(2)
    await scene.bench.advance(31)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline="2026-11-21T12:00:00Z"))
    assert await step(scene) == Call(1)
    await until_due(scene)
    await step(scene)
    card = await scene.card("a")
    assert (card.shown, card.may_show) == (1, 1)
    await scene.settle(scene.result(first))
    card = await scene.card("a")
    assert (card.shown, card.may_show) == (1, 2)
    await until_due(scene)
    assert await step(scene) == Call(1)
    assert (await scene.card("a")).may_show == 1
    assert await where(scene) is IN_SYNC


async def test_its_lease_is_over_and_nobody_took_the_card(scene: Scene) -> None:
    """Nobody could, its app being closed: it still holds the fence, so its answer counts."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (first,) = await scene.claim("a")
    await scene.bench.advance(31)
    await scene.shut("wx1", "daily_limit", scene.bench.now + 3_600 * SECOND)
    assert await scene.claim() == []
    (settled,) = await scene.settle(scene.result(first))
    assert (settled.stale, settled.delivered) == (False, True)
    assert await where(scene) is IN_SYNC


HELD_CLOCK = f"""
CREATE OR REPLACE FUNCTION held_clock() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared(77);
  RETURN {STANDING};
END $$"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.postgres
async def test_a_member_is_committed_between_a_claims_lock_and_its_read(postgres: PostgresBench) -> None:
    """The claim's statement begins, and sees what was committed by then. He is committed before it locks the
    card: the revision that it reads under the lock counts him, so he must be in the call."""
    scene = Scene(postgres)
    await scene.open("a")
    await scene.complete("a", "m1")
    await postgres.admin.execute(HELD_CLOCK)
    held = await postgres.another(now="held_clock()")
    await postgres.admin.execute("SELECT pg_advisory_lock(77)")
    claiming = asyncio.create_task(claim(held, {"wx1": 9}, holder="h", limit=9, rules=scene.cards))
    async with asyncio.timeout(30):
        while not await postgres.admin.fetchval(WAITING):
            pass
    await scene.complete("a", "m2")
    await postgres.admin.execute("SELECT pg_advisory_unlock(77)")
    (claimed,) = (await claiming).cards
    assert (claimed.card.revision, claimed.call) == (3, Call(1, ("m1", "m2")))
    await scene.settle(scene.result(claimed))
    assert await where(scene) is not DUE
    assert await pending(scene) == 0
    await scene.balance()
