"""What a settle writes: the fence it checks, what it counts, the gates it moves; on every engine."""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.redeliver import redeliver
from services.transactions.settle import settle
from statemachine.card import EXPIRED, Phase, phase
from tests.store.benches import DAY, Bench
from tests.store.support import Scene


@pytest.fixture
async def due(scene: Scene) -> Scene:
    """A scene with the card `a`, of which one revision is undelivered."""
    await scene.open("a")
    await scene.complete("a", "m1")
    return scene


async def test_it_counts_what_was_jumped_over_and_never_a_later_revision(due: Scene) -> None:
    await due.complete("a", "m2")
    (claimed,) = await due.claim()
    await due.complete("a", "m3")
    (settled,) = await due.settle(due.result(claimed))
    assert (settled.stale, settled.delivered) == (False, True)
    card = await due.card("a")
    assert (card.settled, card.revision) == (3, 4)
    assert await due.owed("a") == ["m3"]
    counters = await due.counters()
    assert (counters["revisions.delivered"], counters["revisions.superseded"]) == (2, 1)
    await due.balance()


async def test_settling_twice_does_nothing(due: Scene) -> None:
    """Only the answer to the first was lost."""
    (claimed,) = await due.claim()
    await due.settle(due.result(claimed))
    before = await due.counters(), await due.card("a"), await due.changes("a")
    (again,) = await due.settle(due.result(claimed))
    assert not again.stale
    assert (await due.counters(), await due.card("a"), await due.changes("a")) == before


async def test_two_that_settle_the_same_result_at_once_count_it_once(bench: Bench, due: Scene) -> None:
    other = await bench.another()
    (claimed,) = await due.claim()
    await asyncio.gather(*(settle(each, [due.result(claimed)], due.cards) for each in (due.store, other)))
    assert (await due.counters())["calls.made"] == 1
    await due.balance()


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_every_verdict_settles_into_a_balanced_ledger(due: Scene, verdict: Verdict) -> None:
    await due.deliver("a", verdict, errcode=1, errmsg="said", rid="r-1")
    (attempt,) = await due.store.attempts("a", 5)
    assert (attempt.outcome, attempt.errcode, attempt.rid) == (verdict.value, 1, "r-1")
    await due.balance()


async def test_a_card_given_back_unsent_leaves_no_trace_but_its_fence(due: Scene) -> None:
    before = await due.card("a")
    await due.deliver("a", None)
    after = await due.card("a")
    assert (after.attempts, after.doubt_at, after.behind) == (0, None, True)
    assert after.fence == before.fence + 1
    assert await due.due() == ["a"]
    assert await due.store.attempts("a", 5) == []


async def test_47504_ends_the_activity_and_closes_its_card(due: Scene) -> None:
    await due.deliver("a", Verdict.expired, errcode=47504)
    card = await due.card("a")
    assert (card.state, card.verdict, phase(card)) == ("ended", EXPIRED, Phase.closed)
    kinds = [each.split(":")[0] for each in await due.changes("a")]
    assert kinds[-2:] == ["changed", "failed"]
    await due.balance()


async def test_what_was_deleted_meanwhile_is_left_alone(due: Scene) -> None:
    (claimed,) = await due.claim()
    await due.bench.advance(40 * 86_400)
    await due.tick()
    await due.tick()
    await due.store.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=100)
    (settled,) = await due.settle(due.result(claimed))
    assert settled.stale


async def test_three_rejected_alone_and_then_the_state_alone_give_everybody_back(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m1", "m2", "m3", "m4")
    await scene.set("a", list_limit=1)
    for _ in range(4):
        await scene.deliver("a", Verdict.rejected, errcode=40097)
    card = await scene.card("a")
    assert (card.verdict, phase(card)) == ("rejected", Phase.given_up)
    assert await scene.owed("a") == ["m1", "m2", "m3", "m4"]
    assert (await redeliver(scene.store, "a")).revived
    await scene.deliver("a")
    assert await scene.owed("a") == []
    await scene.balance()


LIMITS = {Verdict.daily_limit: 45009, Verdict.minute_limit: 45011}


@pytest.mark.parametrize("first", list(LIMITS))
async def test_of_two_closings_at_the_same_moment_the_later_end_counts(
    bench: Bench, scene: Scene, first: Verdict
) -> None:
    """45009 and 45011 to two calls of one app, in either order and from two processes at once."""
    await scene.open("a", "b")
    await scene.complete("a", "m")
    await scene.complete("b", "m")
    other = await bench.another()
    claimed = await scene.claim()
    (second,) = LIMITS.keys() - {first}
    results = [scene.result(each, verdict) for each, verdict in zip(claimed, (first, second), strict=True)]
    await asyncio.gather(
        settle(scene.store, results[:1], scene.cards), settle(other, results[1:], scene.cards)
    )
    gate = await scene.gate()
    assert gate.reason == "daily_limit"
    assert gate.closed_until > scene.bench.now + 120 * SECOND


@pytest.mark.parametrize("together", [True, False], ids=["in one settle", "one after the other"])
@pytest.mark.parametrize("first", list(LIMITS))
async def test_the_later_answer_never_shortens_the_former_ones_closing(
    scene: Scene, first: Verdict, together: bool
) -> None:
    """Both calls were under way when the first was answered."""
    await scene.open("a", "b")
    await scene.complete("a", "m")
    await scene.complete("b", "m")
    (second,) = LIMITS.keys() - {first}
    results = [
        scene.result(each, verdict, errcode=LIMITS[verdict])
        for each, verdict in zip(await scene.claim(), (first, second), strict=True)
    ]
    if together:
        await scene.settle(*results)
    else:
        await scene.settle(results[0])
        former = await scene.gate()
        assert former.reason == first.value
        await scene.settle(results[1])
        assert (await scene.gate()).closed_until >= former.closed_until
    gate = await scene.gate()
    assert (gate.reason, gate.errcode) == ("daily_limit", 45009)
    assert (await scene.card("a")).attempts == (await scene.card("b")).attempts == 0
    assert await scene.due() == []


async def test_an_answer_from_before_a_closing_never_opens_the_gate(scene: Scene) -> None:
    await scene.open("a", "b")
    await scene.complete("a", "m")
    await scene.complete("b", "m")
    refused, good = await scene.claim()
    await scene.settle(scene.result(refused, Verdict.blocked))
    closed = await scene.gate()
    await scene.settle(scene.result(good))
    assert await scene.gate() == closed
