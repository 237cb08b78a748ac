"""Bursts, bisection, ends: what the chat sees when much happens at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from contracts.times import SECOND
from services.store.cards import redeliver
from tests.dispatcher.world import BASE, Make, in_virtual_time


def names(count: int) -> tuple[str, ...]:
    return tuple(f"m{number:03}" for number in range(count))


def rejecting(*bad: str, code: int = 47001):
    """WeChat that refuses every list with one of these in it."""
    return lambda sent: code if set(sent.members or ()) & set(bad) else 0


MANY = tuple(f"m{n}" for n in range(100))


@in_virtual_time()
async def test_a_burst_of_500_completions_is_gathered_into_few_calls_and_the_end_does_not_wait(
    make: Make,
) -> None:
    world = await make()
    async with world.running():
        await world.open("a")
        for member in names(500):
            await world.complete("a", member)
            await asyncio.sleep(0.002)
        await world.close("a")
        assert await world.until(lambda: world.wechat.shown["a"] == 3) <= 1.0
        await world.settled("a")
    assert len(world.wechat.calls) <= 12
    assert world.wechat.calls[-1].members is None
    assert all(count == 1 for count in world.wechat.posts.values())
    assert len(world.wechat.posts) == 500
    assert world.wechat.calls[0].at < 0.1, "the first look is at once"


@in_virtual_time()
async def test_a_chatty_activity_is_looked_at_once_per_coalesce_and_never_postponed(make: Make) -> None:
    world = await make(coalesce=1.0)
    async with world.running():
        await world.open("a")
        for member in names(200):
            await world.complete("a", member)
            await asyncio.sleep(0.05)
        await world.settled("a")
    starts = [call.at for call in world.wechat.calls]
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert 10 <= len(starts) <= 12
    assert all(0.9 <= pause <= 1.2 for pause in pauses)


@in_virtual_time()
async def test_the_end_ignores_throttling(make: Make) -> None:
    world = await make(coalesce=30.0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
        await world.complete("a", "m2")
        await asyncio.sleep(1)
        assert len(world.wechat.calls) == 1, "the member is gathered"
        await world.close("a")
        assert await world.settled("a") <= 0.3
    assert world.wechat.shown["a"] == 3
    assert world.wechat.posts["a", "m2"] == 1


@in_virtual_time()
async def test_members_before_the_end_go_first_with_the_last_open_state_then_the_end_alone(
    make: Make,
) -> None:
    world = await make()
    async with world.running():
        await world.open("a", deadline=1_000.0, notice=3_600)
        await world.settled("a")
        await world.complete("a", *names(150))
        await world.close("a")
        await world.settled("a")
    shown = [(call.target_state, len(call.members or ())) for call in world.wechat.calls]
    assert shown == [(2, 0), (2, 100), (2, 50), (3, 0)]


@pytest.mark.parametrize("bad", [("m000",), ("m037",), ("m099",), ("m010", "m090"), ("m050", "m051", "m052")])
@in_virtual_time()
async def test_bad_members_are_found_by_halving_and_everybody_else_is_delivered(
    make: Make, bad: tuple[str, ...]
) -> None:
    world = await make()
    world.wechat.script = rejecting(*bad)
    async with world.running():
        await world.open("a")
        await world.complete("a", *names(100))
        await world.settled("a")
        posts = {member for _, member in world.wechat.posts}
        assert posts == set(names(100)) - set(bad)
        assert all(count == 1 for count in world.wechat.posts.values())
        assert len(world.wechat.calls) <= 12 * len(bad)
        failures = await world.failed("a")
        assert await world.named("a") == sorted(bad)
        assert {each.verdict for each in failures} == {"rejected"}
        world.wechat.script = lambda _: 0
        again = await redeliver(world.store, "a")
        assert sorted(again.members) == sorted(bad)
        await world.settled("a")
    assert {member for _, member in world.wechat.posts} == set(names(100))
    assert not (await world.card("a")).verdict


@in_virtual_time()
async def test_after_three_members_rejected_alone_and_no_success_the_request_counts_as_wrong(
    make: Make,
) -> None:
    world = await make()
    world.wechat.script = lambda _: 40097
    async with world.running():
        await world.open("a")
        await world.complete("a", *names(40))
        await world.settled("a")
        calls = len(world.wechat.calls)
        assert calls <= 10
        card = await world.card("a")
        assert (card.settled_as, card.verdict) == ("dead", "rejected")
        assert not card.final
        await asyncio.sleep(300)
        assert len(world.wechat.calls) == calls, "a dead card is left alone"
        world.wechat.script = lambda _: 0
        await world.complete("a", "late")
        await world.settled("a")
    assert {member for _, member in world.wechat.posts} == {*names(40), "late"}


@in_virtual_time()
async def test_a_dead_card_wakes_by_redeliver(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda _: 47503
    async with world.running():
        await world.open("a")
        await world.close("a")
        await world.settled("a")
        assert (await world.card("a")).verdict == "rejected"
        world.wechat.script = lambda _: 0
        assert (await redeliver(world.store, "a")).woken
        await world.settled("a")
    assert world.wechat.shown["a"] == 3


@in_virtual_time()
async def test_the_end_waits_at_most_a_minute_for_members_then_goes_and_names_who_was_left_out(
    make: Make,
) -> None:
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.members else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1", "m2")
        await world.close("a")
        known = (await world.card("a")).end_known_at
        assert known is not None
        await world.settled("a")
    end = world.wechat.calls[-1]
    assert (end.target_state, end.members) == (3, None)
    tries = [call for call in world.wechat.calls if call.members]
    assert all(call.at * SECOND + BASE <= known + 60 * SECOND for call in tries)
    assert end.at * SECOND + BASE >= known + 60 * SECOND
    assert end.at * SECOND + BASE <= known + 60 * SECOND + 32 * SECOND, "plus one backoff at most"
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.members) == ("expired", ("m1", "m2"))


@in_virtual_time()
async def test_the_end_waits_for_no_failed_member_within_the_margin_before_expiry(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.members else 0
    async with world.running():
        await world.open("a", life=100.0)
        await asyncio.sleep(39)
        await world.complete("a", "m1")
        await asyncio.sleep(1.5)
        await world.tick()
        await world.settled("a", patience=30)
    assert world.wechat.calls[-1].target_state == 3
    assert world.wechat.calls[-1].at < 50
    assert [each.members for each in await world.failed("a")] == [("m1",)]


@in_virtual_time(patience=600)
async def test_members_rejected_one_by_one_keep_the_end_for_a_minute_at_most(make: Make) -> None:
    """Openids instead of group_openids: each costs calls, and hundreds of them would cost many minutes."""
    world = await make()
    world.wechat.script = lambda sent: 40097 if {*(sent.members or ())} & {*MANY} else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "good")
        await world.settled("a")
        world.wechat.latency = 1.0
        await world.complete("a", *MANY)
        await world.close("a")
        known = (await world.card("a")).end_known_at
        assert known is not None
        await world.settled("a", patience=600)
    end = world.wechat.calls[-1]
    assert (end.target_state, end.errcode) == (3, 0)
    assert known + 60 * SECOND <= end.at * SECOND + BASE <= known + 64 * SECOND
    assert {*await world.named("a")} == {*MANY}


@in_virtual_time(patience=600)
async def test_what_failed_before_the_end_leaves_nobody_out_after_it(make: Make) -> None:
    """One -1, then no dispatcher for longer than the end waits: WeChat has refused nobody since."""
    world = await make()
    world.wechat.script = lambda sent: -1
    await world.open("a")
    async with world.running():
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.calls)
        await asyncio.sleep(0.2)
    world.wechat.script = lambda sent: 0
    await world.complete("a", *MANY)
    await world.close("a")
    await asyncio.sleep(70)
    async with world.running():
        await world.settled("a", patience=120)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@in_virtual_time(patience=900)
async def test_the_minute_of_an_end_begins_with_its_first_failure(make: Make) -> None:
    """After a long absence one call fails: its members are tried again before they are left out."""
    world = await make()
    await world.open("a")
    await world.complete("a", *(f"m{n}" for n in range(250)))
    await world.close("a")
    await asyncio.sleep(600)
    answers = [0, -1]
    world.wechat.script = lambda sent: answers.pop(0) if answers else 0
    async with world.running():
        await world.settled("a", patience=120)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@pytest.mark.parametrize("longest", [10, 1], ids=["accepted", "narrowed"])
@in_virtual_time()
async def test_a_long_list_of_slow_calls_does_not_keep_the_end_until_expiry(make: Make, longest: int) -> None:
    """Nothing fails, so members go first; what is not through by the second half of the margin is told."""
    world = await make(members_per_call=10, call_deadline=10.0)
    world.wechat.script = lambda sent: 40097 if len(sent.members or ()) > longest else 0
    async with world.running():
        await world.open("a", life=100.0)
        await asyncio.sleep(39)
        world.wechat.latency = 9.0
        await world.complete("a", *MANY)
        await asyncio.sleep(1.5)
        await world.tick()
        await world.settled("a", patience=60)
    end = world.wechat.calls[-1]
    assert (end.target_state, end.members, end.errcode) == (3, None, 0)
    assert 70 <= end.at < 80, "within one call of the half of the margin"
    taken = {member for call in world.wechat.calls if call.errcode == 0 for member in call.members or ()}
    assert taken
    assert {*await world.named("a")} == {*MANY} - taken


@pytest.mark.parametrize("bad", [None, "m17"], ids=["all good", "one of them bad"])
@in_virtual_time()
async def test_an_end_with_the_margin_leaves_nobody_out_whom_wechat_takes(
    make: Make, bad: str | None
) -> None:
    """An activity without a deadline ends in the margin: that alone is no reason to leave members out."""
    world = await make(members_per_call=10)
    world.wechat.script = lambda sent: 40097 if bad in (sent.members or ()) else 0
    async with world.running():
        await world.open("a", life=100.0)
        await asyncio.sleep(39)
        world.wechat.latency = 1.0
        await world.complete("a", *MANY)
        await asyncio.sleep(1.5)
        await world.tick()
        await world.settled("a", patience=30)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == ([bad] if bad else [])


@in_virtual_time()
async def test_after_a_long_absence_all_members_go_before_the_end(make: Make) -> None:
    """The dispatcher was away for more than the minute that the end waits."""
    world = await make(members_per_call=10)
    await world.open("a")
    await world.complete("a", *MANY)
    await world.close("a")
    await asyncio.sleep(600)
    async with world.running():
        await world.settled("a", patience=30)
    assert world.wechat.shown["a"] == 3
    assert {member for call in world.wechat.calls for member in call.members or ()} == {*MANY}
    assert await world.named("a") == []


@pytest.mark.parametrize("empty", [True, False])
@in_virtual_time()
async def test_state_1_with_nobody_to_name_carries_an_empty_list_if_the_setting_says_so(
    make: Make, empty: bool
) -> None:
    world = await make(empty_list_at_open=empty)
    async with world.running():
        await world.open("a", deadline=100.0, notice=3_600)
        await world.settled("a")
        await world.reschedule("a", 80_000.0)
        await world.settled("a")
    assert [call.target_state for call in world.wechat.calls] == [2, 1]
    assert world.wechat.calls[0].members is None
    assert world.wechat.calls[1].members == (() if empty else None)


@in_virtual_time()
async def test_a_lost_nudge_is_healed_within_a_sweep(make: Make) -> None:
    world = await make()
    world.nudging = False
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        assert await world.settled("a") <= 5.2


@in_virtual_time()
async def test_what_is_behind_at_the_start_is_found_at_once_and_page_after_page(make: Make) -> None:
    world = await make(in_flight=4, in_flight_narrow=4)
    activities = [f"a{number}" for number in range(200)]
    await world.open(*activities)
    for activity in activities:
        await world.complete(activity, "m1")
    async with world.running():
        took = await world.settled(*activities)
    assert took <= 200 / 4 * 0.05 * 2 + 1, "pages follow each other without waiting for the next sweep"


@in_virtual_time()
async def test_cards_whose_id_died_are_written_off_by_the_sweep(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda _: -1
    async with world.running():
        await world.open("a", life=90.0)
        await world.complete("a", "m1")
        await asyncio.sleep(31)
        await world.tick()
        await world.settled("a")
        calls = len(world.wechat.calls)
        await asyncio.sleep(120)
    card = await world.card("a")
    assert (card.settled_as, card.final) == ("expired", True)
    assert len(world.wechat.calls) == calls
    assert all(call.at < 90 for call in world.wechat.calls)
    assert (await world.failed("a"))[-1].verdict == "expired"


@in_virtual_time()
async def test_nothing_is_sent_after_expiry_even_if_the_claim_was_before(make: Make) -> None:
    world = await make()
    world.wechat.before_send = 5.0
    async with world.running():
        await world.open("a", life=63.0)
        await asyncio.sleep(59)
        await world.complete("a", "m1")
        await world.settled("a")
    assert world.wechat.calls == []
    assert (await world.card("a")).settled_as == "expired"


@in_virtual_time()
async def test_two_dispatchers_side_by_side_repeat_nobody(make: Make) -> None:
    world = await make()
    activities = [f"a{number}" for number in range(30)]
    async with world.running("d1", "d2"):
        await world.open(*activities)
        for member in names(20):
            for activity in activities:
                await world.complete(activity, member)
            await asyncio.sleep(0.2)
        for activity in activities:
            await world.close(activity)
        await world.settled(*activities)
    assert len(world.wechat.posts) == 600
    assert set(world.wechat.posts.values()) == {1}
    assert all(world.wechat.shown[activity] == 3 for activity in activities)
