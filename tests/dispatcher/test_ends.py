"""The end of an activity: who goes before it, how long it waits for them, and that it goes."""

from __future__ import annotations

import asyncio

import pytest

from tests.dispatcher.scripted import Reply, Sent
from tests.dispatcher.world import Make, World, in_virtual_time

MANY = tuple(f"m{n:03}" for n in range(100))
MINUTE = 60.0


def first_end(world: World) -> float:
    """When the end was called first, to the millisecond."""
    return round(next(call.at for call in world.wechat.calls if call.target_state == 3), 3)


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


@pytest.mark.parametrize("holder", ["d1", "d2", "d3"])
@pytest.mark.parametrize(
    ("answer", "latency"),
    [(-1, 0.05), (-1, 5.0), ("hang", 10.0)],
    ids=["busy", "busy and slow", "no answer"],
)
@in_virtual_time(patience=900)
async def test_the_end_waits_a_minute_for_members_then_goes_and_names_who_was_left_out(
    make: Make, answer: Reply, latency: float, holder: str
) -> None:
    """Not a backoff later; only a call that is under way then is waited for."""
    world = await make()
    world.wechat.script = lambda sent: answer if sent.members else 0
    world.wechat.latency = latency
    async with world.running(holder):
        await world.open("a", life=7_200.0)
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(900)))
        await world.close("a")
        await world.settled("a")
    assert MINUTE <= first_end(world) <= MINUTE + latency + 0.2
    assert world.wechat.calls[-1].members is None
    failures = await world.failed("a")
    assert {failure.verdict for failure in failures} == {"ended"}
    assert len(await world.named("a")) == 1_000


@in_virtual_time(patience=12_000)
async def test_after_two_hours_without_a_dispatcher_the_minute_begins_with_the_first_claim(
    make: Make,
) -> None:
    """300 members owed, and WeChat answers -1 to all of them."""
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.members else 0
    await world.open("a")
    await world.complete("a", *(f"m{n}" for n in range(300)))
    await world.close("a")
    await asyncio.sleep(7_200)
    async with world.running():
        await world.settled("a")
    assert 7_200 + MINUTE <= first_end(world) <= 7_200 + MINUTE + 0.2
    assert len([call for call in world.wechat.calls if call.members]) >= 5
    assert len(await world.named("a")) == 300


@in_virtual_time(patience=900)
async def test_after_a_long_absence_all_members_go_before_the_end(make: Make) -> None:
    """Also when one call fails on the way: its members are tried again."""
    world = await make(members_per_call=10)
    await world.open("a")
    await world.complete("a", *MANY)
    await world.close("a")
    await asyncio.sleep(600)
    answers = [0, -1]
    world.wechat.script = lambda _: answers.pop(0) if answers else 0
    async with world.running():
        await world.settled("a", patience=30)
    assert world.wechat.shown["a"] == 3
    assert world.taken() == {*MANY}
    assert await world.named("a") == []


@in_virtual_time(patience=600)
async def test_what_failed_before_the_end_neither_delays_it_nor_leaves_anybody_out(make: Make) -> None:
    """The end, once known, begins its own run of attempts at once."""
    world = await make()
    world.wechat.script = lambda sent: -1 if sent.at < 100 else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", *MANY)
        await asyncio.sleep(100)
        assert (await world.card("a")).attempts > 4
        await world.close("a")
        assert await world.settled("a") <= 0.5
    assert await world.named("a") == []


@pytest.mark.parametrize(
    "answers",
    [[-1, 45011, 45011, -1], [-1, *[40001] * 5], [-1, 40125, 40125]],
    ids=["the calls of two minutes are used up", "the token is refused", "the secret is wrong"],
)
@in_virtual_time(patience=600)
async def test_the_time_behind_a_closed_gate_is_none_that_the_end_waits(
    make: Make, answers: list[int]
) -> None:
    world, left = await make(), [*answers]
    world.wechat.script = lambda _: left.pop(0) if left else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(400)))
        await world.close("a")
        await world.settled("a", patience=600)
    assert first_end(world) > MINUTE
    assert await world.named("a") == []


@pytest.mark.parametrize("latency", [9.0, 1.0])
@in_virtual_time()
async def test_the_last_half_of_the_margin_is_the_ends_alone(make: Make, latency: float) -> None:
    """An activity without a deadline ends a margin before its id dies. Slow calls that WeChat takes go until
    30 s before; what is not through then is told."""
    world = await make(members_per_call=10)
    async with world.running():
        await world.end_with_the_margin(latency, *MANY)
    end = world.wechat.calls[-1]
    assert (end.target_state, end.members, end.errcode) == (3, None, 0)
    assert {*await world.named("a")} == {*MANY} - world.taken()
    if latency == 9.0:
        assert 70 <= end.at < 70 + latency
        assert world.taken()
    else:
        assert world.taken() == {*MANY}


@in_virtual_time()
async def test_a_backlog_that_takes_longer_than_its_minute_is_cut_and_told(make: Make) -> None:
    world = await make()
    world.wechat.latency = 5.0
    async with world.running():
        await world.open("a")
        for group in range(4):
            await world.complete("a", *(f"m{group}-{n:03}" for n in range(500)))
        await world.close("a")
        await world.settled("a")
    assert MINUTE <= first_end(world) <= MINUTE + 5.2
    assert len(world.taken()) >= 1_100
    assert len(await world.named("a")) == 2_000 - len(world.taken())


@pytest.mark.parametrize("every", [1, 2, 10], ids=["all", "every second", "every tenth"])
@in_virtual_time(patience=900)
async def test_who_is_rejected_among_others_keeps_the_end_for_a_minute_at_most(
    make: Make, every: int
) -> None:
    """Openids instead of group_openids, say: to find hundreds by halving would cost many minutes."""
    world = await make()
    bad = {*MANY[::every]}
    world.wechat.script = lambda sent: 40097 if {*(sent.members or ())} & bad else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "good")
        await world.settled("a")
        world.wechat.latency = 1.0
        known = round(world.clock.monotonic(), 3)
        await world.complete("a", *MANY)
        await world.close("a")
        await world.settled("a", patience=600)
    assert known + MINUTE <= first_end(world) <= known + MINUTE + 2
    assert world.wechat.shown["a"] == 3
    assert {*await world.named("a")} == {*MANY} - world.taken()


@pytest.mark.parametrize("longest", [50, 20, None], ids=["fifty", "twenty", "one refusal by chance"])
@in_virtual_time(patience=900)
async def test_a_list_that_was_too_long_costs_nobody_a_call(make: Make, longest: int | None) -> None:
    """Nobody is bad: as long as WeChat takes lists, of whatever length, members go."""
    world, chance = await make(), [47001]

    def answer(sent: Sent) -> int:
        if longest is None:
            return chance.pop() if chance else 0
        return 47001 if len(sent.members or ()) > longest else 0

    world.wechat.script = answer
    async with world.running():
        await world.open("a")
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(1_100)))
        await world.close("a")
        await world.settled("a", patience=600)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@in_virtual_time(patience=900)
async def test_what_would_give_the_card_up_sends_the_end_without_waiting_longer(make: Make) -> None:
    """A code that nobody documents, five times: the end goes alone, and counts its own attempts."""
    world = await make()
    world.wechat.script = lambda sent: 99_999 if sent.members else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.close("a")
        await world.settled("a", patience=300)
    assert [call.target_state for call in world.wechat.calls] == [1] * 5 + [3]
    assert world.wechat.shown["a"] == 3
    assert {*await world.named("a")} == {"m1"}
    assert {each.verdict for each in await world.failed("a")} == {"unknown_code", "ended"}


@in_virtual_time(patience=900)
async def test_a_request_that_is_wrong_is_found_by_three_members_and_the_state_alone(make: Make) -> None:
    """A wrong template, say: then the end goes alone, and is given up at its first refusal."""
    world = await make()
    world.wechat.script = lambda _: 47001
    async with world.running():
        await world.open("a")
        await world.complete("a", *MANY)
        await world.close("a")
        await world.settled("a")
    assert len(world.wechat.calls) <= 7 + 3 + 2
    assert {*await world.named("a")} == {*MANY}
    async with world.store.transaction() as tx:
        assert not await tx.owed(["a"]), "nobody is owed behind an end that was called"


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
    world.wechat.script = lambda _: 0
    async with world.running():
        await world.settled("a")
    assert {call.target_state for call in world.wechat.calls[tried:]} == {3}


@pytest.mark.parametrize("left", [60.0, 45.0, 37.0, 31.0])
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


@pytest.mark.parametrize("outage", [35, 75, 400])
@pytest.mark.parametrize("holder", ["d1", "d2", "d3", "d4"])
@in_virtual_time(patience=900)
async def test_a_store_that_goes_away_with_an_answer_costs_no_member_a_call(
    make: Make, holder: str, outage: float
) -> None:
    """A -1 that can be settled only when the store is back: nobody could take the card until then."""
    world, answers = await make(), [-1]

    def answer(_: Sent) -> int:
        if not answers:
            return 0
        world.front.away = True
        asyncio.get_running_loop().call_later(outage, setattr, world.front, "away", False)
        return answers.pop()

    world.wechat.script = answer
    await world.open("a")
    await world.complete("a", "m1", "m2")
    await world.close("a")
    async with world.running(holder):
        await world.settled("a", patience=600)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@pytest.mark.parametrize("left", [600.0, 31.0, 20.0])
@in_virtual_time(patience=900)
async def test_the_time_without_a_dispatcher_is_none_that_the_end_waits_but_for_the_half_margin(
    make: Make, left: float
) -> None:
    """It waits already when the process stops; the next one comes `left` seconds before the id dies."""
    world = await make()
    world.wechat.script = lambda _: -1
    await world.open("a", life=700.0)
    await world.complete("a", "m1", "m2")
    await world.close("a")
    async with world.running():
        await world.until(lambda: world.wechat.calls)
    assert (await world.card("a")).end_by is not None
    world.wechat.script = lambda _: 0
    await asyncio.sleep(700 - left - world.clock.monotonic())
    async with world.running():
        assert await world.settled("a") <= 1
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == ([] if left > 30 else ["m1", "m2"])


@in_virtual_time(patience=900)
async def test_a_gate_that_opens_in_the_last_half_of_the_margin_lets_the_end_through_alone(
    make: Make,
) -> None:
    """However long it was closed while members were owed."""
    world = await make()
    world.wechat.script = lambda sent: 40125 if sent.at < 65 else 0
    async with world.running():
        await world.open("a", life=150.0)
        await world.complete("a", "m1")
        await world.close("a")
        await world.settled("a")
    assert 120 <= first_end(world) < 150
    assert [call.members for call in world.wechat.calls if call.errcode == 0] == [None]
    *_, failure = await world.failed("a")
    assert (failure.verdict, failure.members) == ("ended", ("m1",))
