"""A card's worst moments, walked through on every engine: claims, answers and the clock, in that order."""

from __future__ import annotations

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.redeliver import redeliver
from statemachine.card import EXPIRED, Phase, phase
from tests.store.support import Scene


async def made_true(scene: Scene, seconds: float = 31) -> None:
    """WeChat takes everything from now on."""
    for _ in range(6):
        await scene.bench.advance(seconds)
        await scene.tick()
        for claimed in await scene.claim():
            await scene.settle(scene.result(claimed))
    await scene.balance()


async def test_an_end_becomes_known_while_a_call_with_members_is_in_flight_and_times_out(
    scene: Scene,
) -> None:
    """The members go again with the last open state, the end after them, and nobody is left out."""
    await scene.open("a")
    await scene.complete("a", "m1", "m2")
    (claimed,) = await scene.claim()
    await scene.close("a")
    await scene.settle(scene.result(claimed, Verdict.unknown, jitter=0.5))
    await scene.bench.advance(1)
    (again,) = await scene.claim()
    assert (again.call.target_state, again.call.members, again.more) == (1, ("m1", "m2"), True)
    await scene.settle(scene.result(again))
    (end,) = await scene.claim()
    assert (end.call.target_state, end.call.members) == (3, ())
    await scene.settle(scene.result(end))
    assert phase(await scene.card("a")) is Phase.uncertain  # the first call may still come
    await made_true(scene)
    assert phase(await scene.card("a")) is Phase.closed
    assert await scene.skipped("a") == []


async def test_two_hours_without_a_dispatcher_cost_no_member_a_minute_of_the_end(scene: Scene) -> None:
    """300 members owed, and a WeChat that answers -1 to all: they are tried for a minute, then named."""
    await scene.open("a")
    await scene.complete("a", *(f"m{place}" for place in range(300)))
    await scene.close("a")
    await scene.bench.advance(7200)
    began = scene.bench.now
    tries = 0
    while True:
        (claimed,) = await scene.claim()
        if claimed.call.target_state == 3:
            break
        tries += 1
        (settled,) = await scene.settle(scene.result(claimed, Verdict.busy, jitter=0.9))
        assert settled.next_in is not None
        await scene.bench.advance(settled.next_in / SECOND)
    assert tries > 3
    assert 55 <= (scene.bench.now - began) / SECOND <= 61
    assert len(await scene.skipped("a")) == 300
    await scene.settle(scene.result(claimed))
    assert phase(await scene.card("a")) is Phase.closed
    await scene.balance()


async def test_two_hours_in_which_nobody_takes_the_card_do_not_count(scene: Scene) -> None:
    """`end_by` is set by the first claim, and moved on by the time for which the card was due."""
    await scene.open("a")
    await scene.complete("a", *(f"m{place}" for place in range(300)))
    await scene.close("a")
    (settled,) = [await scene.deliver("a", Verdict.busy, jitter=0.9)]
    before = (await scene.card("a")).end_by
    assert before is not None
    assert settled.next_in is not None
    await scene.bench.advance(settled.next_in / SECOND + 7200)
    (claimed,) = await scene.claim()
    assert (claimed.call.target_state, len(claimed.call.members)) == (1, 100)
    assert (await scene.card("a")).end_by == before + 7200 * SECOND
    for sent in (100, 100, 100, 0):
        assert len(claimed.call.members) == sent
        await scene.settle(scene.result(claimed))
        claimed, *_ = [*await scene.claim(), claimed]
    assert phase(await scene.card("a")) is Phase.closed
    assert await scene.skipped("a") == await scene.owed("a") == []
    await scene.balance()


async def test_the_end_waits_no_longer_than_half_a_margin_before_expiry(scene: Scene) -> None:
    """However long nobody was there: then it goes alone, and who is left out is named once."""
    await scene.open("a", life=200)
    await scene.complete("a", "m1", "m2")
    await scene.close("a")
    await scene.deliver("a", Verdict.busy)
    await scene.bench.advance(171)
    (claimed,) = await scene.claim()
    assert (claimed.call.target_state, claimed.call.members) == (3, ())
    assert await scene.skipped("a") == ["m1", "m2"]
    await scene.settle(scene.result(claimed, Verdict.busy))
    assert (await redeliver(scene.store, "a")).refused  # the end was called: nobody follows it
    await scene.deliver("a")
    assert sum("ended" in each for each in await scene.changes("a")) == 1
    await scene.balance()


async def test_the_end_once_known_resets_the_backoff_once(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m1")
    for _ in range(6):
        (settled,) = [await scene.deliver("a", Verdict.busy, jitter=0.9)]
        assert settled.next_in is not None
        await scene.bench.advance(settled.next_in / SECOND)
    await scene.deliver("a", Verdict.busy, jitter=0.9)
    assert await scene.due() == []
    await scene.close("a")
    assert (await scene.card("a")).attempts == 0
    await scene.deliver("a", Verdict.busy, jitter=0.9)
    assert (await scene.card("a")).attempts == 1
    assert await scene.due() == []
    await made_true(scene)
    assert phase(await scene.card("a")) is Phase.closed


async def test_news_while_backing_off_shortens_no_wait(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.deliver("a", Verdict.busy, jitter=0.9)
    before = (await scene.card("a")).retry_at
    await scene.complete("a", "m2")
    card = await scene.card("a")
    assert (card.retry_at, phase(card)) == (before, Phase.due)


async def test_news_while_calling_is_called_after_it(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m1")
    (claimed,) = await scene.claim()
    await scene.complete("a", "m2")
    assert phase(await scene.card("a")) is Phase.calling
    await scene.settle(scene.result(claimed))
    await scene.bench.advance(1)
    (later,) = await scene.claim()
    assert later.call.members == ("m2",)


async def test_news_in_doubt_goes_at_once_and_the_repair_comes_later(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.deliver("a", Verdict.unknown)
    await scene.bench.advance(1)
    await scene.deliver("a")
    assert phase(await scene.card("a")) is Phase.uncertain
    await scene.bench.advance(1)
    await scene.complete("a", "m2")
    (claimed,) = await scene.claim()
    assert not claimed.repair
    await scene.settle(scene.result(claimed))
    assert phase(await scene.card("a")) is Phase.uncertain
    await scene.bench.advance(30)
    (repair,) = await scene.claim()
    assert (repair.repair, repair.call.members) == (True, ())
    await scene.settle(scene.result(repair))
    assert phase(await scene.card("a")) is Phase.in_sync
    await scene.balance()


async def test_nothing_is_called_after_a_card_is_closed(scene: Scene) -> None:
    await scene.open("a")
    await scene.close("a")
    await scene.deliver("a")
    await scene.complete("a", "m1")  # late, or refused: no revision
    assert await scene.due() == []
    assert (await redeliver(scene.store, "a")).refused
    await scene.balance()


@pytest.mark.parametrize("sent", [True, False], ids=["after the send", "before the send"])
async def test_one_of_two_dispatchers_is_frozen_past_its_lease(scene: Scene, sent: bool) -> None:
    await scene.open("a")
    await scene.complete("a", "m1")
    (frozen,) = await scene.claim(holder="frozen")
    await scene.bench.advance(31)
    (other,) = await scene.claim(holder="other")
    await scene.settle(scene.result(other))
    (late,) = await scene.settle(scene.result(frozen, Verdict.ok if sent else None, sent=sent))
    assert late.stale
    card = await scene.card("a")
    assert phase(card) is Phase.uncertain  # its lease lapsed, so it may have called
    await made_true(scene)
    assert phase(await scene.card("a")) is Phase.in_sync


async def test_the_id_dies_while_a_call_is_under_way(scene: Scene) -> None:
    """Its settle closes the card; so does the clock, once the lease is over."""
    await scene.open("a", "b", life=100)
    await scene.bench.advance(45)
    for name in "ab":
        await scene.complete(name, "m1")
    await scene.bench.advance(50)
    await scene.tick()
    held = {each.card.activity_id: each for each in await scene.claim()}
    await scene.bench.advance(6)
    await scene.tick()
    assert phase(await scene.card("b")) is Phase.calling  # the clock leaves a living lease alone
    await scene.settle(scene.result(held["a"], Verdict.busy))
    assert (await scene.card("a")).verdict == EXPIRED
    await scene.bench.advance(30)
    await scene.tick()
    assert (await scene.card("b")).verdict == EXPIRED
    await scene.settle(scene.result(held["b"]))
    assert phase(await scene.card("b")) is Phase.closed
    await scene.balance()


async def test_back_to_open_while_the_call_for_nearing_is_in_doubt(scene: Scene) -> None:
    """2→1 is called for though WeChat confirmed no 2; refused with 47502, the card stays at 2."""
    await scene.open("a", deadline=1000, notice=900)
    await scene.bench.advance(100)
    await scene.tick()
    await scene.deliver("a", Verdict.unknown)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline=None))
    await scene.bench.advance(1)
    (lower,) = await scene.claim()
    assert lower.call.target_state == 1
    await scene.settle(scene.result(lower, Verdict.rejected, errcode=47502))
    (stay,) = await scene.claim()
    assert stay.call.target_state == 2
    await scene.settle(scene.result(stay))
    card = await scene.card("a")
    assert (card.cannot_lower, card.shown, card.state) == (True, 2, "open")
    assert sum("not_lowered" in each for each in await scene.changes("a")) == 1
    await made_true(scene)


@pytest.mark.parametrize("where", list(Phase))
async def test_redelivering_in_every_phase(scene: Scene, where: Phase) -> None:
    await scene.open("a", life=1000)
    await scene.complete("a", "m1", "m2")
    if where is not Phase.due:
        await scene.skip("a", "m2")
    if where is Phase.calling:
        await scene.claim()
    elif where is Phase.given_up:
        for _ in range(5):
            await scene.deliver("a", Verdict.unknown_code, errcode=1)
            await scene.bench.advance(60)
    elif where is Phase.uncertain:
        await scene.deliver("a", Verdict.unknown)
        await scene.bench.advance(1)
        await scene.deliver("a")
    elif where is Phase.in_sync:
        await scene.deliver("a")
    elif where is Phase.closed:
        await scene.bench.advance(1000)
        await scene.tick()
        await scene.tick()
    if where is Phase.due:
        await scene.skip("a", "m2")
    assert phase(await scene.card("a")) is where
    revision = (await scene.card("a")).revision
    done = await redeliver(scene.store, "a")
    if where is Phase.closed:
        assert done.refused
        return
    assert (done.members, done.revived) == (("m2",), where is Phase.given_up)
    assert (await scene.card("a")).revision == revision + 1
    assert phase(await scene.card("a")) is (Phase.calling if where is Phase.calling else Phase.due)
    await made_true(scene)
    assert await scene.owed("a") == await scene.skipped("a") == []
