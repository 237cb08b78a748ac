"""The database's clock was set back: no wait that we wrote is longer than its own longest setting."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.times import HOUR, MINUTE, SECOND
from contracts.wechat import Verdict
from services.store.rows import SHARDS
from statemachine.card import CALLING, DUE, IN_SYNC, UNCERTAIN, phase, status
from statemachine.gate import DAY, LONGEST, NEVER, PROBED, UNKNOWN_APP
from statemachine.waits import CLOCK_STEP
from tests.store.benches import START
from tests.store.support import Scene
from tests.store.test_columns import CELLS, _put

HALF_AN_HOUR = 1_800
WAITING = [each for each in CELLS if each[1]]
"""Cells of `attempt_at` with a wait in them."""


@pytest.mark.parametrize(
    ("at", "values"), [(at, values) for _, at, values in WAITING], ids=[str(each[0]) for each in WAITING]
)
async def test_whatever_a_card_waits_for_half_an_hour_ahead_it_is_due(
    scene: Scene, at: int, values: dict[str, Any]
) -> None:
    """At the longest of all waits and a step of the clock it is believed, a microsecond further it is not."""
    await _put(scene, "cards", values)
    longest = scene.cards.longest_wait + CLOCK_STEP
    await scene.bench.advance((at - START - longest) / SECOND)
    assert await scene.due() == []
    assert await _next_attempt(scene) == longest
    await scene.bench.advance(-0.000001)
    assert await scene.due() == ["a"]
    assert await _next_attempt(scene) is None
    await scene.bench.advance(-HALF_AN_HOUR)
    assert await scene.due() == ["a"]


async def _next_attempt(scene: Scene) -> int | None:
    async with scene.store.transaction() as tx:
        return await tx.next_attempt(["wx1"])


async def test_cards_in_every_wait_are_delivered_at_once(scene: Scene) -> None:
    """Half an hour back: throttled, backing off, its end backing off, called for, in doubt; the doubt of the
    last two is repaired once a lapse or a doubt of this moment may be."""
    names = ["throttled", "backing-off", "ending", "calling", "doubted"]
    await scene.open(*names)
    for name in names:
        await scene.complete(name, "m1")
    await scene.close("ending")
    held = {each.card.activity_id: each for each in await scene.claim()}
    for name, verdict in (
        ("throttled", Verdict.ok),
        ("backing-off", Verdict.busy),
        ("ending", Verdict.busy),
        ("doubted", Verdict.unknown),
    ):
        await scene.settle(scene.result(held[name], verdict, jitter=1.0))
    await scene.complete("throttled", "m2")
    assert await scene.claim() == []
    await scene.bench.advance(-HALF_AN_HOUR)
    again = await scene.claim()
    assert sorted(each.card.activity_id for each in again) == sorted(names)
    (stale,) = await scene.settle(scene.result(held["calling"]))
    assert stale.stale  # the lease was taken over, by the fence
    await scene.settle(*(scene.result(each) for each in again))
    rest = {name: phase(await scene.card(name)) for name in names}
    assert rest.pop("calling") is rest.pop("doubted") is UNCERTAIN
    for _ in range(3):  # the end waited for a member
        await scene.settle(*(scene.result(each) for each in await scene.claim()))
    await scene.bench.advance(30)
    await scene.settle(*(scene.result(each) for each in await scene.claim()))
    assert {phase(await scene.card(name)) for name in ("throttled", "backing-off", "calling", "doubted")} == {
        IN_SYNC
    }
    assert (await scene.card("ending")).shown == 3


async def test_an_uncertain_card_begins_its_doubt_anew(scene: Scene) -> None:
    """When it began is not known any more, and its call may still be on its way: no repair before 30 s."""
    await scene.open("a")
    await scene.set("a", doubt_at=START)
    await scene.bench.advance(-HALF_AN_HOUR)
    assert await scene.due() == ["a"]
    assert await scene.claim() == []
    card = await scene.card("a")
    assert (phase(card), card.doubt_at) == (UNCERTAIN, scene.bench.now)
    assert await scene.due() == []
    await scene.bench.advance(30)
    await scene.deliver("a")
    assert phase(await scene.card("a")) is IN_SYNC


async def test_an_end_waits_for_members_no_longer_than_it_may(scene: Scene) -> None:
    """`end_by` too is a wait that we wrote; who is owed is not left out for it."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.close("a")
    await scene.deliver("a", Verdict.busy, jitter=0.0)
    await scene.bench.advance(-HALF_AN_HOUR)
    (claimed,) = await scene.claim("a")
    assert claimed.call.members == ("m1",)
    assert (await scene.card("a")).end_by == scene.bench.now + scene.cards.end_wait


async def test_people_are_told_what_a_claim_will_do(scene: Scene) -> None:
    """`show` names no moment that nobody waits for."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.claim("a")
    await scene.bench.advance(-HALF_AN_HOUR)
    now = scene.bench.now
    told = status(await scene.card("a"), await scene.gate(), now, scene.cards)
    assert (told.phase, told.until) == (CALLING, now)
    await scene.claim("a")
    await scene.set("a", lease_until=0, lease_by="", retry_at=START)
    told = status(await scene.card("a"), await scene.gate(), now, scene.cards)
    assert (told.phase, told.why, told.until) == (DUE, "", None)


async def test_what_lies_too_far_ahead_goes_first_among_its_kind(scene: Scene) -> None:
    """It has waited since before the clock was set back: whoever comes now does not overtake it for ever."""
    await scene.open("far", "further", "far-end", "new", "new-end")
    for name in ("far", "further", "far-end"):
        await scene.complete(name, "m")
    await scene.close("far-end")
    for name, at in (("far", START), ("further", START + SECOND), ("far-end", START)):
        await scene.set(name, retry_at=at)
    await scene.bench.advance(-HALF_AN_HOUR)
    await scene.complete("new", "m")
    await scene.close("new-end")
    assert await scene.due() == ["far-end", "new-end", "far", "further", "new"]
    assert await scene.due(limit=3) == ["far-end", "new-end", "far"]
    assert await scene.due(room=1) == ["far-end"]


REASONS = [*sorted(PROBED), *sorted(LONGEST)]


@pytest.mark.parametrize("reason", [each for each in REASONS if each != UNKNOWN_APP])
async def test_no_gate_is_closed_longer_than_ever_for_its_reason(scene: Scene, reason: str) -> None:
    """To the microsecond; then it counts as open, or one call of all processes finds out."""
    await scene.open("a")
    await scene.complete("a", "m")
    longest = LONGEST.get(reason, scene.cards.longest_closing) + CLOCK_STEP
    await scene.shut("wx1", reason, START + longest + 1)
    await scene.bench.advance(0.000001)
    assert await scene.due() == []
    assert await _next_attempt(scene) == longest
    await scene.bench.advance(-0.000001)
    assert await scene.due() == ["a"]
    told = status(await scene.card("a"), await scene.gate(), scene.bench.now, scene.cards)
    assert told.why == ""
    (claimed,) = await scene.claim("a")
    (settled,) = await scene.settle(scene.result(claimed))
    assert settled.gate is not None
    assert (await scene.gate()).reason == ""


@pytest.mark.parametrize("reason", [each for each in REASONS if each != UNKNOWN_APP])
async def test_what_a_claim_may_take_is_told_as_old_as_it_is(scene: Scene, reason: str) -> None:
    """The metric believes a closing, and an app that saves its quota, as far as a claim does."""
    await scene.open("a")
    await scene.complete("a", "m")
    await scene.bench.advance(3)
    longest = LONGEST.get(reason, scene.cards.longest_closing) + CLOCK_STEP
    for until, age in ((longest, 0), (longest + 1, 3 * SECOND)):
        await scene.shut("wx1", reason, scene.bench.now + until)
        assert (await scene.store.backlog()).claimable_age == age
    for until, age in ((DAY + CLOCK_STEP, 0), (DAY + CLOCK_STEP + 1, 3 * SECOND)):
        await scene.store.save_quota("wx1", scene.bench.now + until)
        assert (await scene.store.backlog()).claimable_age == age
        assert await scene.due() == ["a"] * bool(age)


async def test_one_probe_of_all_processes_finds_out_after_the_clock_was_set_back(scene: Scene) -> None:
    """And one that was not sent leaves the gate to the next."""
    await scene.open("a", "b")
    for name in "ab":
        await scene.complete(name, "m")
    await scene.shut("wx1", "blocked", START + MINUTE)
    await scene.bench.advance(-HALF_AN_HOUR)
    (claimed,) = await scene.claim()
    assert await scene.claim() == []
    await scene.settle(scene.result(claimed, None))
    assert len(await scene.claim()) == 1


async def test_a_gate_that_only_the_apps_file_opens_stays_closed(scene: Scene) -> None:
    """That is no wait."""
    await scene.open("a")
    await scene.complete("a", "m")
    await scene.shut("wx1", UNKNOWN_APP, NEVER)
    await scene.bench.advance(-HALF_AN_HOUR)
    assert await scene.due() == []


async def test_shards_are_free_at_once(scene: Scene) -> None:
    """Those of a relay that is gone too, and it takes no part of the share."""
    lease, every = 10 * SECOND, list(range(SHARDS))
    assert await scene.store.lease_shards("gone", lease) == every
    await scene.store.lease_shards("alive", lease)
    await scene.bench.advance(-0.000001)
    assert await scene.store.lease_shards("alive", lease) == every
    assert await scene.store.lease_shards("gone", lease) == []
    await scene.bench.advance(-HALF_AN_HOUR)
    assert await scene.store.lease_shards("alive", lease) == every
    assert await scene.store.lease_shards("alive", lease) == every


async def test_the_clock_closes_a_dead_card_no_later_for_a_lease_of_before(scene: Scene) -> None:
    """`due_at` of a card that is called for is its lease's end at most one lease after its id's death."""
    await scene.open("a", life=120)
    await scene.complete("a", "m")
    await scene.bench.advance(110)
    await scene.claim("a")
    await scene.bench.advance(5)
    await scene.close("a")
    await scene.bench.advance(-HALF_AN_HOUR)
    due_at = (await scene.bench.columns("a")).due_at
    assert due_at is not None
    assert due_at <= START + 120 * SECOND + scene.cards.lease
    await scene.bench.advance(HALF_AN_HOUR + HOUR / SECOND)
    assert (await scene.tick()).closed == 1
