"""Bursts, bisection, backlogs, expiry: what the chat sees when much happens at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from services.transactions.redeliver import redeliver
from statemachine.card import phase
from tests.dispatcher.world import Make, in_virtual_time


def names(count: int) -> tuple[str, ...]:
    return tuple(f"m{number:03}" for number in range(count))


def rejecting(*bad: str, code: int = 47001):
    """WeChat that refuses every list with one of these in it."""
    return lambda sent: code if set(sent.members or ()) & set(bad) else 0


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
        closed = world.clock.monotonic()
        await world.settled("a")
    assert len(world.wechat.calls) <= 7
    lists = [call for call in world.wechat.calls if call.at >= closed - world.wechat.latency]
    assert all(after.at - before.over <= 0.01 for before, after in itertools.pairwise(lists))
    assert lists[0].at - closed <= 0.01, "the end waits for nothing but the lists before it"
    assert world.wechat.calls[-1].members is None
    assert all(count == 1 for count in world.wechat.posts.values())
    assert len(world.wechat.posts) == 500
    assert world.wechat.calls[0].at < 0.1, "the first call is at once"


@in_virtual_time()
async def test_a_chatty_activity_is_planned_once_per_coalesce_and_never_postponed(make: Make) -> None:
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
        assert (phase(card), card.verdict) == ("given_up", "rejected")
        await asyncio.sleep(300)
        assert len(world.wechat.calls) == calls, "a card that is given up is left alone"
        world.wechat.script = lambda _: 0
        await world.complete("a", "late")
        await world.settled("a")
    assert {member for _, member in world.wechat.posts} == {*names(40), "late"}


@in_virtual_time()
async def test_redeliver_tries_a_card_again_that_was_given_up(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda _: 47503
    async with world.running():
        await world.open("a")
        await world.close("a")
        await world.settled("a")
        assert (await world.card("a")).verdict == "rejected"
        world.wechat.script = lambda _: 0
        assert (await redeliver(world.store, "a")).revived
        await world.settled("a")
    assert world.wechat.shown["a"] == 3


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
async def test_a_lost_nudge_is_healed_by_the_next_poll(make: Make) -> None:
    world = await make()
    world.nudging = False
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        assert await world.settled("a") <= 1.2


@in_virtual_time()
async def test_a_backlog_is_worked_off_without_waiting_for_the_poll(make: Make) -> None:
    world = await make(in_flight=4, in_flight_narrow=4)
    activities = [f"a{number}" for number in range(200)]
    await world.open(*activities)
    for activity in activities:
        await world.complete(activity, "m1")
    async with world.running():
        took = await world.settled(*activities)
    assert took <= 200 / 4 * 0.05 + 0.2, "each slot that becomes free is used at once"


@in_virtual_time()
async def test_a_card_whose_id_died_is_closed_by_the_clock_and_never_called(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda _: -1
    async with world.running(), world.ticking():
        await world.open("a", life=90.0)
        await world.complete("a", "m1")
        await world.settled("a")
        calls = len(world.wechat.calls)
        await asyncio.sleep(120)
    assert phase(await world.card("a")) == "closed"
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
        await asyncio.sleep(10)
        await world.tick()  # the end
        await world.tick()  # the id's death
        await world.settled("a")
    assert world.wechat.calls == []
    assert (await world.card("a")).verdict == "expired"


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
