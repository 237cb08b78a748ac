"""How long an end waits, and for whom, when what goes wrong is mixed: codes, members, the store."""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from tests.dispatcher.world import BASE, Make, Sent, World, in_virtual_time

MANY = tuple(f"m{n:03}" for n in range(100))
MINUTE = 60.0


async def waited(world: World) -> float:
    """Seconds from the moment the end was known to its first call."""
    known = (await world.card("a")).end_known_at
    assert known is not None
    end = next(call for call in world.wechat.calls if call.target_state == 3)
    return round(end.at - (known - BASE) / SECOND, 3)


@pytest.mark.parametrize("every", [1, 2, 10], ids=["all", "every second", "every tenth"])
@in_virtual_time(patience=900)
async def test_who_is_rejected_among_others_keeps_the_end_for_a_minute_at_most(
    make: Make, every: int
) -> None:
    """Openids instead of group_openids, say: hundreds would cost many minutes. On the way to each of them
    WeChat takes some: those say nothing about the rest."""
    world = await make()
    bad = {*MANY[::every]}
    world.wechat.script = lambda sent: 40097 if {*(sent.members or ())} & bad else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "good")
        await world.settled("a")
        world.wechat.latency = 1.0
        await world.complete("a", *MANY)
        await world.close("a")
        await world.settled("a", patience=600)
    assert MINUTE <= await waited(world) <= MINUTE + 4
    end = world.wechat.calls[-1]
    assert (end.target_state, end.errcode) == (3, 0)
    taken = {member for call in world.wechat.calls if call.errcode == 0 for member in call.members or ()}
    assert {*await world.named("a")} == {*MANY} - taken


@in_virtual_time()
async def test_one_who_is_rejected_costs_nobody_else_a_try(make: Make) -> None:
    """Found by halving; then lists of full length end the run of failures."""
    world = await make()
    world.wechat.script = lambda sent: 40097 if MANY[17] in (sent.members or ()) else 0
    async with world.running():
        await world.open("a")
        world.wechat.latency = 3.0
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(900)))
        await world.close("a")
        await world.settled("a", patience=300)
    assert await waited(world) > MINUTE
    assert await world.named("a") == [MANY[17]]


@pytest.mark.parametrize("longest", [50, 20, None], ids=["fifty", "twenty", "one refusal by chance"])
@in_virtual_time(patience=900)
async def test_a_list_that_was_too_long_costs_nobody_a_try(make: Make, longest: int | None) -> None:
    """Nobody is bad: as long as WeChat takes lists, of whatever length, members go."""
    world, chance = await make(), [47001]

    def answer(sent: Sent) -> int:
        if longest is None:
            return chance.pop() if chance else 0
        return 47001 if len(sent.members or ()) > longest else 0

    world.wechat.script = answer
    async with world.running():
        await world.open("a")
        world.wechat.latency = 4.0
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(1100)))
        await world.close("a")
        await world.settled("a", patience=600)
    assert await waited(world) > MINUTE
    assert await world.named("a") == []


@pytest.mark.parametrize("outage", [35, 60, 75, 400])
@in_virtual_time(patience=900)
async def test_a_store_that_goes_away_with_an_answer_costs_no_member_a_try(make: Make, outage: int) -> None:
    """A -1 that could be settled only when the store was back."""
    world, answers = await make(), [-1]
    await world.open("a")
    await world.complete("a", "m1", "m2")
    await world.close("a")

    def answer(_: object) -> int:
        if not answers:
            return 0
        world.front.away = True
        asyncio.get_running_loop().call_later(outage, setattr, world.front, "away", False)
        return answers.pop()

    world.wechat.script = answer
    async with world.running():
        await world.settled("a", patience=900)
    assert world.wechat.shown["a"] == 3
    assert await world.named("a") == []


@pytest.mark.parametrize("holder", [f"d{n}" for n in range(8)])
@pytest.mark.parametrize(
    ("answer", "latency"),
    [(-1, 0.05), (-1, 5.0), ("hang", 10.0), (99999, 0.05)],
    ids=["busy", "busy and slow", "no answer", "an unknown code"],
)
@in_virtual_time(patience=900)
async def test_the_end_goes_when_its_minute_is_over_not_a_backoff_later(
    make: Make, answer: int | str, latency: float, holder: str
) -> None:
    """Whatever it is that nobody gets through with; a call that is under way then is waited for."""
    world = await make()
    world.wechat.script = lambda sent: answer if sent.members else 0
    world.wechat.latency = latency
    async with world.running(holder):
        await world.open("a", life=7200.0)
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(900)))
        await world.close("a")
        await world.settled("a", patience=300)
    assert MINUTE <= await waited(world) <= MINUTE + latency + 0.2
    assert world.wechat.shown["a"] == 3
    assert len(await world.named("a")) == 1000


@in_virtual_time(patience=900)
async def test_a_code_that_nobody_documents_sets_aside_whom_it_was_answered_for_and_is_told(
    make: Make,
) -> None:
    """Five times for the same list; the lists behind it go."""
    world = await make()
    world.wechat.script = lambda sent: 99999 if MANY[0] in (sent.members or ()) else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", *MANY, *(f"n{n:03}" for n in range(400)))
        await world.close("a")
        await world.settled("a", patience=300)
    assert world.wechat.shown["a"] == 3
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.errcode, failure.members) == ("unknown_code", 99999, MANY)
    assert len([call for call in world.wechat.calls if call.errcode == 99999]) == 5


@pytest.mark.parametrize("members", [(), ("m1",)], ids=["nobody owed", "somebody owed"])
@in_virtual_time(patience=900)
async def test_an_end_that_is_answered_so_is_given_up(make: Make, members: tuple[str, ...]) -> None:
    """Five times as well; `redeliver` wakes it."""
    world = await make()
    world.wechat.script = lambda sent: 99999
    async with world.running():
        await world.open("a", life=7200.0)
        if members:
            await world.complete("a", *members)
        await world.close("a")
        await asyncio.sleep(600)
    assert [call.target_state for call in world.wechat.calls] == [1] * 5 * len(members) + [3] * 5
    assert (await world.card("a")).verdict == "unknown_code"


@pytest.mark.parametrize(("lease", "own"), [(12.0, 30.0), (20.0, 30.0), (30.0, 45.0)])
@in_virtual_time(patience=900)
async def test_the_ends_own_part_of_the_margin_is_a_lease_and_a_half_and_half_of_it_at_least(
    make: Make, lease: float, own: float
) -> None:
    """Members who are taken, slowly, go until it begins."""
    world = await make(lease=lease, call_deadline=min(10.0, lease - 1), members_per_call=5)
    async with world.running():
        await world.end_with_the_margin(3.0, *MANY)
    end = world.wechat.calls[-1]
    assert end.target_state == 3
    assert 100 - own <= end.at < 100 - own + 4
