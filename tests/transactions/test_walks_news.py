"""Walks of a revision that comes while the card is busy with another one (design.md §6)."""

from __future__ import annotations

import pytest

from contracts.wechat import ILLEGAL_STATE, Verdict
from statemachine.card import CALLING, CLOSED, DUE, IN_SYNC, UNCERTAIN
from statemachine.plan import Call
from tests.store.support import Scene
from tests.transactions.walking import failures, pending, step, until_due, where


async def test_a_revision_is_raised_while_backing_off(scene: Scene) -> None:
    """It shortens no wait, and goes with the call that would have been made anyway."""
    await scene.open("a")
    await scene.complete("a", "m1")
    for _ in range(4):
        await until_due(scene)
        await step(scene, Verdict.busy, jitter=1.0)
    await scene.bench.advance(1)
    await scene.complete("a", "m2")
    assert await step(scene) is None
    assert await until_due(scene) == 7
    assert await step(scene) == Call(1, ("m1", "m2"))
    assert await where(scene) is IN_SYNC
    assert await pending(scene) == 0


@pytest.mark.parametrize("verdict", [Verdict.ok, Verdict.busy, Verdict.unknown, Verdict.unknown_code, None])
async def test_a_revision_is_raised_while_calling(scene: Scene, verdict: Verdict | None) -> None:
    """Whatever comes of the call, it is called after it and never lost."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (claimed,) = await scene.claim("a")
    await scene.complete("a", "m2")
    assert await where(scene) is CALLING
    assert await step(scene) is None
    await scene.settle(scene.result(claimed, verdict, jitter=1.0))
    assert await where(scene) is DUE
    assert await until_due(scene) == (1 if verdict is not None else 0)
    assert await step(scene) == Call(1, ("m2",) if verdict is Verdict.ok else ("m1", "m2"))
    assert await where(scene) is (UNCERTAIN if verdict is Verdict.unknown else IN_SYNC)
    assert await pending(scene) == 0


async def test_a_revision_is_raised_while_in_doubt(scene: Scene) -> None:
    """It does not wait for the repair; the call that tells it leaves the doubt, unless it is 30 s old."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await step(scene, Verdict.unknown, jitter=0.5)
    doubted = scene.bench.now
    await until_due(scene)
    assert await step(scene) == Call(1, ("m1",))
    assert await where(scene) is UNCERTAIN
    await scene.bench.advance(10)
    await scene.complete("a", "m2")
    assert await step(scene) == Call(1, ("m2",))
    assert await where(scene) is UNCERTAIN
    assert (await scene.card("a")).doubt_at == doubted
    await scene.bench.advance(20)
    await scene.complete("a", "m3")
    assert await step(scene) == Call(1, ("m3",))
    assert await where(scene) is IN_SYNC
    assert await pending(scene) == 0


async def test_a_revision_is_raised_after_it_was_given_up(scene: Scene) -> None:
    """It is tried from the beginning, no more often than any card: at most one plan a second."""
    await scene.open("a")
    await scene.complete("a", "m1")
    for _ in range(5):
        await until_due(scene)
        await step(scene, Verdict.unknown_code, errcode=99)
    assert (await scene.bench.columns("a")).attempt_at is None
    await scene.complete("a", "m2")
    assert await until_due(scene) == 1
    assert await step(scene, Verdict.busy, jitter=1.0) == Call(1, ("m1", "m2"))
    assert await until_due(scene) == 1
    assert await step(scene) == Call(1, ("m1", "m2"))
    assert await pending(scene) == 0


async def near_and_open_again(scene: Scene) -> int:
    """The call for 2 is in doubt, and the card is to show 1 again. When the doubt arose."""
    await scene.open("a", deadline=3_600, notice=600)
    await scene.bench.advance(3_000)
    await scene.tick()
    assert await step(scene, Verdict.unknown, jitter=1.0) == Call(2)
    doubted = scene.bench.now
    assert (await scene.card("a")).may_show == 2
    await scene.feed(scene.event("activity.rescheduled", "a", deadline="2026-11-21T12:00:00Z"))
    assert await where(scene) is DUE
    assert await until_due(scene) == 1
    return doubted


async def test_down_again_while_the_call_up_is_in_doubt(scene: Scene) -> None:
    """2→1 is called, though WeChat never confirmed 2; and once more, for the call may be applied yet."""
    doubted = await near_and_open_again(scene)
    assert await step(scene) == Call(1)
    card = await scene.card("a")
    assert (card.shown, card.may_show, card.doubt_at) == (1, 2, doubted)
    assert await where(scene) is UNCERTAIN
    assert await until_due(scene) == 29
    assert await step(scene) == Call(1)
    card = await scene.card("a")
    assert (card.shown, card.may_show, card.doubt_at) == (1, 1, None)
    assert await where(scene) is IN_SYNC
    assert await pending(scene) == 0


async def test_down_again_is_refused_while_the_call_up_is_in_doubt(scene: Scene) -> None:
    """So it was applied: the card stays at 2, members travel with 2, 3 follows; one failure tells."""
    await near_and_open_again(scene)
    assert await step(scene, Verdict.rejected, errcode=ILLEGAL_STATE) == Call(1)
    card = await scene.card("a")
    assert (card.cannot_lower, card.may_show) == (True, 2)
    assert await step(scene) == Call(2)
    await scene.complete("a", "m1")
    await until_due(scene)
    assert await step(scene) == Call(2, ("m1",))
    await scene.close("a")
    assert await step(scene) == Call(3)
    await until_due(scene)
    assert await step(scene) == Call(3)
    assert await where(scene) is CLOSED
    assert [each.verdict for each in await failures(scene)] == ["not_lowered"]
    assert await pending(scene) == 0


async def test_a_refused_repair_that_lowers_keeps_its_doubt(scene: Scene) -> None:
    """1 was confirmed while 2 was in doubt, and 2 was applied later: the repair is refused, the card stays at
    2, and is repaired as such."""
    await near_and_open_again(scene)
    assert await step(scene) == Call(1)
    await until_due(scene)
    assert await step(scene, Verdict.rejected, errcode=ILLEGAL_STATE) == Call(1)
    assert await where(scene) is UNCERTAIN
    assert await until_due(scene) == 0
    assert await step(scene) == Call(2)
    assert await where(scene) is IN_SYNC
    assert (await scene.card("a")).shown == 2
