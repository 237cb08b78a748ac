"""The end of an activity: who goes before it, and how long it waits for them."""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from services.transactions.claim import redeliver
from tests.dispatcher.world import BASE, Make, in_virtual_time

MANY = tuple(f"m{n:03}" for n in range(100))


@in_virtual_time()
async def test_members_before_the_end_go_first_with_the_last_open_state_then_the_end_alone(
    make: Make,
) -> None:
    world = await make()
    async with world.running():
        await world.open("a", deadline=1_000.0, notice=3_600)
        await world.settled("a")
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(50)))
        await world.close("a")
        await world.settled("a")
    shown = [(call.target_state, len(call.members or ())) for call in world.wechat.calls]
    assert shown == [(2, 0), (2, 100), (2, 50), (3, 0)]


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
    assert known + 60 * SECOND <= end.at * SECOND + BASE <= known + 61 * SECOND
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.members) == ("expired", ("m1", "m2"))


@in_virtual_time()
async def test_the_end_waits_for_no_failed_member_within_the_margin_before_expiry(make: Make) -> None:
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.members else 0
    async with world.running():
        await world.end_with_the_margin(0.05, "m1")
    assert world.wechat.calls[-1].target_state == 3
    assert world.wechat.calls[-1].at < 50
    assert [each.members for each in await world.failed("a")] == [("m1",)]


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
    """Nothing fails, so members go first; what is not through when its own time begins is told."""
    world = await make(members_per_call=10, call_deadline=10.0)
    world.wechat.script = lambda sent: 40097 if len(sent.members or ()) > longest else 0
    async with world.running():
        await world.end_with_the_margin(9.0, *MANY)
    end = world.wechat.calls[-1]
    assert (end.target_state, end.members, end.errcode) == (3, None, 0)
    assert 55 <= end.at < 65, "within one call of the last 45 s: a lease and a half"
    taken = {member for call in world.wechat.calls if call.errcode == 0 for member in call.members or ()}
    assert bool(taken) == (longest == 10), "two calls of nine seconds find nobody by halving"
    assert {*await world.named("a")} == {*MANY} - taken


@pytest.mark.parametrize("bad", [None, "m017"], ids=["all good", "one of them bad"])
@in_virtual_time()
async def test_an_end_with_the_margin_leaves_nobody_out_whom_wechat_takes(
    make: Make, bad: str | None
) -> None:
    """An activity without a deadline ends in the margin: that alone is no reason to leave members out."""
    world = await make(members_per_call=10)
    world.wechat.script = lambda sent: 40097 if bad in (sent.members or ()) else 0
    async with world.running():
        await world.end_with_the_margin(1.0, *MANY)
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


@pytest.mark.parametrize(
    "answers",
    [[-1, 45011, 45011, -1], [-1, *[40001] * 50]],
    ids=["the calls of two minutes are used up", "the token is refused"],
)
@in_virtual_time(patience=600)
async def test_what_keeps_the_app_from_calling_costs_no_member_a_try(make: Make, answers: list[int]) -> None:
    """A -1, and for more than a minute after it nothing that speaks about the card."""
    world, left = await make(), [*answers]
    world.wechat.script = lambda sent: left.pop(0) if left else 0
    await world.open("a")
    async with world.running():
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(400)))
        await world.close("a")
        await world.settled("a", patience=600)
    assert world.wechat.calls[-1].at > 60
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@in_virtual_time(patience=600)
async def test_a_failure_that_was_overcome_costs_no_member_behind_it_a_try(make: Make) -> None:
    """A backlog that takes longer than a minute, all of which WeChat takes."""
    world = await make()
    answers = [-1]
    world.wechat.script = lambda sent: answers.pop(0) if answers else 0
    world.wechat.latency = 1.5
    await world.open("a")
    async with world.running():
        for group in range(10):
            await world.complete("a", *(f"m{group}-{n:03}" for n in range(500)))
        await world.close("a")
        await world.settled("a", patience=600)
    assert world.wechat.calls[-1].at > 60
    assert await world.named("a") == []


@in_virtual_time(patience=900)
async def test_redelivering_before_the_end_sends_those_it_names(make: Make) -> None:
    """A wrong template, mended ten minutes after the end was known."""
    world = await make()
    world.wechat.script = lambda sent: 47001 if sent.members else 0
    await world.open("a")
    async with world.running():
        await world.complete("a", "m1", "m2", "m3", "m4")
        await world.close("a")
        await world.settled("a")
        assert (await world.card("a")).verdict == "rejected"
        await asyncio.sleep(600)
        world.wechat.script = lambda sent: 0
        assert (await redeliver(world.store, "a")).woken
        await world.settled("a")
    assert {member for (_, member), posts in world.wechat.posts.items() if posts} == {"m1", "m2", "m3", "m4"}
    assert world.wechat.shown["a"] == 3


@in_virtual_time(patience=900)
async def test_an_end_that_was_tried_is_never_followed_by_members(make: Make) -> None:
    """Its answer was lost and nobody was there for minutes: WeChat may show it."""
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.members else "hang"
    await world.open("a")
    async with world.running():
        await world.complete("a", "m1", "m2")
        await world.close("a")
        await world.until(lambda: any(call.target_state == 3 for call in world.wechat.calls), patience=200)
    tried = len(world.wechat.calls)
    await asyncio.sleep(300)
    world.wechat.script = lambda sent: 0
    async with world.running():
        await world.settled("a")
    assert {call.target_state for call in world.wechat.calls[tried:]} == {3}


@in_virtual_time(patience=900)
async def test_redelivering_after_a_doubt_about_members_sends_them(make: Make) -> None:
    """A call with members was never answered, then all were refused: the end was not called yet."""
    world = await make()
    answers: list[int | str] = ["hang"]
    world.wechat.script = lambda sent: answers.pop(0) if answers else (47001 if sent.members else 0)
    await world.open("a")
    async with world.running():
        await world.complete("a", "m1", "m2", "m3", "m4")
        await world.close("a")
        await world.settled("a")
        await asyncio.sleep(600)
        world.wechat.script = lambda sent: 0
        assert (await redeliver(world.store, "a")).woken
        await world.settled("a")
    assert {member for (_, member), posts in world.wechat.posts.items() if posts} == {"m1", "m2", "m3", "m4"}


@in_virtual_time(patience=900)
async def test_codes_that_nobody_documents_do_not_keep_the_end_for_good(make: Make) -> None:
    """No revision comes after the end that could wake the card: it goes without those it was answered for."""
    world = await make()
    world.wechat.script = lambda sent: 99999 if sent.members else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.close("a")
        await world.settled("a", patience=300)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == ["m1"]


@pytest.mark.parametrize("left", [60.0, 45.1, 44.9, 37.0])
@in_virtual_time(patience=900)
async def test_a_holder_killed_in_the_margin_does_not_cost_the_end(make: Make, left: float) -> None:
    """`left` seconds before the id dies it takes the card, for members or for the end, and is gone."""
    world = await make()
    await world.open("a", life=200.0)
    world.nudging = False
    await asyncio.sleep(200 - left)
    async with world.running():
        await asyncio.sleep(0.01)
        await world.complete("a", "m1")
        await world.close("a")
        await world.claim_and_die("a")
        await asyncio.sleep(left)
    assert world.wechat.shown["a"] == 3
