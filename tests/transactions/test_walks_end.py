"""Walks through the end: members before it, a WeChat that is away, an id that dies (design.md §6)."""

from __future__ import annotations

import pytest

from contracts.changes import CardDelivered
from contracts.times import SECOND
from contracts.wechat import Verdict
from statemachine.card import CALLING, CLOSED, DUE, EXPIRED, UNCERTAIN
from statemachine.plan import Call
from tests.store.benches import START
from tests.store.support import Scene
from tests.transactions.walking import failures, pending, step, told, until_due, where

CROWD = [f"m{n:03}" for n in range(300)]


async def test_the_end_becomes_known_while_a_call_with_members_is_in_flight_and_times_out(
    scene: Scene,
) -> None:
    """They are sent again with the state the card has, then the end alone, then the end once more for the
    doubt; nobody is sent after it."""
    await scene.open("a")
    await scene.complete("a", "m1", "m2")
    (claimed,) = await scene.claim("a")
    await scene.bench.advance(2)
    await scene.close("a")
    assert await where(scene) is CALLING
    await scene.bench.advance(8)
    await scene.settle(scene.result(claimed, Verdict.unknown, jitter=1.0))
    assert await where(scene) is DUE
    assert await step(scene) is None
    assert await until_due(scene) == 1
    assert await step(scene) == Call(1, ("m1", "m2"))
    assert (await scene.card("a")).end_by == scene.bench.now + 60 * SECOND
    assert await step(scene) == Call(3)
    assert await where(scene) is UNCERTAIN
    assert await until_due(scene) == 29
    assert await step(scene) == Call(3)
    assert await where(scene) is CLOSED
    assert await pending(scene) == 0
    assert (await scene.counters())["members.repeated"] == 2
    delivered = CardDelivered(revision=3, target_state=3, members=("m1", "m2"), calls=2)
    assert await told(scene) == [delivered]


async def test_the_end_waits_a_minute_for_members_whose_calls_time_out(scene: Scene) -> None:
    """Then it goes alone and names whom it leaves out."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (claimed,) = await scene.claim("a")
    await scene.close("a")
    await scene.settle(scene.result(claimed, Verdict.unknown, jitter=1.0))
    begun = scene.bench.now + SECOND
    calls = []
    while (await scene.card("a")).may_show < 3:
        await until_due(scene)
        calls.append((scene.bench.now - begun, await step(scene, Verdict.unknown, jitter=1.0)))
    assert calls[-1] == (60 * SECOND, Call(3))
    assert {call for _, call in calls[:-1]} == {Call(1, ("m1",))}
    assert await scene.skipped("a") == ["m1"]
    (failed,) = await failures(scene)
    assert (failed.verdict, failed.members) == ("ended", ("m1",))
    assert await until_due(scene) >= 30  # it failed often, so the doubt is old enough to be cleared at once
    assert await step(scene) == Call(3)
    assert await where(scene) is CLOSED
    assert await pending(scene) == 0


@pytest.mark.parametrize("healed", [True, False])
async def test_a_dispatcher_is_away_for_two_hours_and_wechat_says_busy_to_everything(
    scene: Scene, healed: bool
) -> None:
    """300 members are owed when it comes back. The two hours are no part of the end's minute, nor are two
    more in its midst. Members go first if WeChat heals in time; else the end alone, at the minute's end."""
    await scene.open("a")
    for start in range(0, 300, 100):
        await scene.complete("a", *CROWD[start : start + 100])
    await scene.close("a")
    await scene.bench.advance(7_200)
    first = scene.bench.now
    assert await step(scene, Verdict.busy, errcode=-1, jitter=1.0) == Call(1, tuple(CROWD[:100]))
    assert (await scene.card("a")).end_by == first + 60 * SECOND
    assert await until_due(scene) == 1
    await scene.bench.advance(7_200)  # away again, with the card due
    assert await step(scene, Verdict.busy, errcode=-1, jitter=1.0) == Call(1, tuple(CROWD[:100]))
    assert (await scene.card("a")).end_by == first + 7_260 * SECOND
    if healed:
        await until_due(scene)
        calls = [await step(scene) for _ in range(4)]
        assert calls == [Call(1, tuple(CROWD[n : n + 100])) for n in (0, 100, 200)] + [Call(3)]
        assert await where(scene) is CLOSED
    else:
        waits, last = [], None
        while (await scene.card("a")).may_show < 3:
            waits.append(await until_due(scene))
            last = await step(scene, Verdict.busy, errcode=-1, jitter=1.0)
        assert last == Call(3)
        assert scene.bench.now == first + 7_260 * SECOND
        assert max(waits) <= 32
        assert await scene.skipped("a") == CROWD
        await _busy_to_the_end(scene)
    assert await pending(scene) == 0


async def _busy_to_the_end(scene: Scene) -> None:
    """Once a minute at most, until the id dies; then the clock closes the card."""
    tries = 0
    while scene.bench.now < START + 86_300 * SECOND:
        assert await until_due(scene) <= 60
        assert await step(scene, Verdict.busy, errcode=-1, jitter=1.0) == Call(3)
        tries += 1
        if tries > 8:  # the rest of the day is the same
            await scene.bench.advance((START + 86_300 * SECOND - scene.bench.now) / SECOND)
    await scene.bench.advance(101)
    assert await step(scene) is None
    assert (await scene.tick()).closed == 1
    assert (await scene.card("a")).verdict == EXPIRED
    assert [each.verdict for each in await failures(scene)] == ["ended", "expired"]


async def dying(scene: Scene) -> None:
    """A card that is called for when its id dies, 20 s after the claim; its end is known for 40 s then."""
    await scene.open("a", life=100)
    await scene.complete("a", "m1")
    await scene.bench.advance(40)
    assert (await scene.tick()).nudges == {"a": 3}  # a margin before its death
    await scene.bench.advance(40)


@pytest.mark.parametrize("verdict", [Verdict.ok, Verdict.busy, Verdict.unknown, Verdict.expired, None])
async def test_the_id_dies_while_calling_and_the_settle_closes(scene: Scene, verdict: Verdict | None) -> None:
    """Whatever WeChat says to it: the clock leaves it alone until then, and no call follows."""
    await dying(scene)
    (claimed,) = await scene.claim("a")
    await scene.bench.advance(25)
    assert (await scene.tick()).closed == 0
    assert await where(scene) is CALLING
    assert await scene.store.next_due() == 5 * SECOND  # its lease's end
    await scene.settle(scene.result(claimed, verdict, errcode=47504 if verdict is Verdict.expired else None))
    assert await where(scene) is CLOSED
    assert await pending(scene) == 0
    left_out, *dead = await failures(scene)  # so short of its death the end waits for nobody
    assert (left_out.verdict, left_out.members) == ("ended", ("m1",))
    assert [each.verdict for each in dead] == ([] if verdict is Verdict.ok else ["expired"])
    await scene.bench.advance(5)
    assert (await scene.tick()).closed == 0
    assert await scene.store.next_due() is None


async def test_who_becomes_done_during_the_last_call_is_named_when_the_id_is_dead(scene: Scene) -> None:
    """Not only who was owed when the card was claimed."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (claimed,) = await scene.claim("a")
    await scene.complete("a", "m2")
    await scene.settle(scene.result(claimed, Verdict.expired, errcode=47504))
    assert [(each.verdict, each.members) for each in await failures(scene)] == [("expired", ("m1", "m2"))]
    assert await pending(scene) == 0


async def test_the_id_dies_while_calling_and_the_clock_closes_after_the_lease(scene: Scene) -> None:
    """Its holder has died too; should it come back, it changes nothing."""
    await dying(scene)
    (claimed,) = await scene.claim("a")
    await scene.bench.advance(25)
    assert (await scene.tick()).closed == 0
    await scene.bench.advance(4.999999)
    assert (await scene.tick()).closed == 0
    await scene.bench.advance(0.000001)
    assert (await scene.tick()).closed == 1
    assert await where(scene) is CLOSED
    assert await pending(scene) == 0
    before = await scene.card("a")
    (late,) = await scene.settle(scene.result(claimed, Verdict.busy))
    assert late.stale
    assert await scene.card("a") == before


async def test_a_revision_is_raised_after_closing(scene: Scene) -> None:
    """The id died while WeChat was called and the clock slept: the end that it fires is expired at once."""
    await scene.open("a", life=100)
    await scene.complete("a", "m1")
    await scene.bench.advance(90)
    (claimed,) = await scene.claim("a")
    await scene.bench.advance(11)
    await scene.settle(scene.result(claimed))
    assert await where(scene) is CLOSED
    assert (await scene.tick()).nudges == {"a": 3}
    card = await scene.card("a")
    assert (card.state, card.revision, card.settled, card.verdict) == ("ended", 3, 3, EXPIRED)
    assert await where(scene) is CLOSED
    assert await pending(scene) == 0
    assert await step(scene) is None
    assert await scene.store.next_due() is None
