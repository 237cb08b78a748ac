"""What a dispatcher asks of the store while there is nothing that it can do: a poll a second, no more.

A loop that goes round without rest stops virtual time, so each of these also ends only if there is none.
"""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from services.store.rows import Writes
from statemachine.gate import LONGEST, Gate
from tests.dispatcher.world import Make, World, in_virtual_time

FOR = 60
"""Seconds."""


async def claims(world: World, seconds: float = FOR) -> float:
    """Claims a second, from now on."""
    before = world.front.claims
    await asyncio.sleep(seconds)
    return (world.front.claims - before) / seconds


@in_virtual_time()
async def test_with_nothing_owed(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open(*(f"a{number}" for number in range(20)))
        await asyncio.sleep(1)
        assert await claims(world) <= 1.1


@pytest.mark.parametrize("reason", ["minute_limit", "daily_limit", "token", "misconfigured", "unknown_app"])
@in_virtual_time()
async def test_behind_a_closed_gate(make: Make, reason: str) -> None:
    world = await make(quota_probe=3_600.0)
    await world.owe(50)
    now = world.clock.wall()
    longest = LONGEST.get(reason, world.rules.longest_closing)
    async with world.store.transaction() as tx:
        await tx.write(Writes(gates=[Gate("wx1", now + min(longest, 3_600 * SECOND), now, reason)]))
    if reason == "unknown_app":
        world.apps.known = {"wx2"}
    async with world.running():
        assert await claims(world, FOR - 5) <= 1.1
    assert world.wechat.calls == []


@in_virtual_time()
async def test_with_every_slot_taken_by_calls_that_hang(make: Make) -> None:
    world = await make(in_flight=4, in_flight_narrow=4)
    world.wechat.hanging = {"wx1"}
    await world.owe(50)
    async with world.running():
        await asyncio.sleep(1)
        assert await claims(world, 8) <= 1  # the poll: more cards may be in hand than there are slots
        assert await claims(world) <= 3


@in_virtual_time()
async def test_with_an_app_whose_room_is_taken_beside_one_that_has_nothing(make: Make) -> None:
    world = await make()
    world.wechat.hanging = {"wx1"}
    await world.owe(50)
    async with world.running():
        await asyncio.sleep(1)
        assert await claims(world, 8) <= 1.5


@pytest.mark.parametrize("why", ["40164", "no token"])
@in_virtual_time()
async def test_with_an_app_that_is_paused_here(make: Make, why: str) -> None:
    world = await make()
    if why == "40164":
        world.wechat.script = lambda _: 40164
    else:
        world.wechat.tokenless = {"wx1"}
    await world.owe(50)
    async with world.running():
        await asyncio.sleep(1)
        assert await claims(world) <= 2.5


@in_virtual_time()
async def test_with_rows_that_somebody_else_has_locked(make: Make) -> None:
    world = await make()
    world.front.locked = {*await world.owe(50)}
    async with world.running():
        assert await claims(world) <= 1.1


@pytest.mark.parametrize("in_flight", [1, 64])
@in_virtual_time()
async def test_with_a_probe_that_another_process_is_about_to_take(make: Make, in_flight: int) -> None:
    """The gate's row is locked: of what is due behind it nothing is let in."""
    world = await make(in_flight=in_flight, in_flight_narrow=1)
    await world.owe(50)
    now = world.clock.wall()
    async with world.store.transaction() as tx:
        await tx.write(Writes(gates=[Gate("wx1", now - 1, now - 2, "misconfigured")]))
    world.front.locked_gates = {"wx1"}
    async with world.running():
        assert await claims(world) <= 1.1
        world.front.locked_gates = set()
        await world.until(lambda: len(world.wechat.calls) >= 50)


@pytest.mark.parametrize("apps", [1, 20])
@in_virtual_time()
async def test_with_apps_whose_probes_are_refused(make: Make, apps: int) -> None:
    """More is due than the one call that finds out: beside the poll that is one claim a minute, for all."""
    world = await make(quota_probe=3_600.0)
    world.wechat.script = lambda _: 40125
    for app in range(apps):
        await world.owe(5, appid=f"wx{app}", prefix=f"a{app}-")
    world.apps.known = {f"wx{app}" for app in range(apps)}
    async with world.running():
        await asyncio.sleep(10)
        calls = len(world.wechat.calls)
        rate = await claims(world, 10 * FOR)
        probes = len(world.wechat.calls) - calls
    assert 9 * apps <= probes <= 10 * apps
    assert rate <= 1.025


@in_virtual_time()
async def test_with_cards_that_back_off_each_is_claimed_when_it_is_due(make: Make) -> None:
    """The claims are as many as the calls, and the poll."""
    world = await make()
    world.wechat.script = lambda _: -1
    await world.owe(20)
    async with world.running():
        await asyncio.sleep(60)
        calls = len(world.wechat.calls)
        rate = await claims(world)
    assert rate * FOR <= FOR * 1.1 + 2 * (len(world.wechat.calls) - calls)


@in_virtual_time()
async def test_a_list_that_goes_on_is_claimed_once_a_call(make: Make) -> None:
    """News during a claim that the claim did not see is not left to the poll, nor asked for twice."""
    world = await make(members_per_call=1)
    await world.open("a")
    await world.complete("a", *(f"m{number:02}" for number in range(50)))
    async with world.running():
        before = world.front.claims
        assert await world.settled("a") <= 50 * 0.05 + 0.1
        assert world.front.claims - before <= 2 * 50 + 5


@in_virtual_time()
async def test_what_is_settled_while_a_claim_is_under_way_does_not_wait_for_the_poll(make: Make) -> None:
    """The claim of a card that has become due is slow, and does not see that another's list goes on."""
    world = await make(members_per_call=1, sweep=5.0)
    await world.owe(1, prefix="b")
    await world.change_card("b0", lambda card, now: setattr(card, "retry_at", now + SECOND))
    await world.open("a")
    async with world.running():
        await asyncio.sleep(0.98)
        await world.complete("a", "m1", "m2")
        await world.until(lambda: world.wechat.under_way)
        world.front.slow = 0.2
        assert await world.settled("a") <= 0.6


@in_virtual_time()
async def test_a_gate_that_opens_narrow_lets_the_next_in_as_soon_as_a_call_is_over(make: Make) -> None:
    """Also in a process that was wide and has seen nothing of the closing."""
    world = await make(sweep=5.0)
    names = await world.owe(60)
    async with world.running():
        await world.settled(*names)
        now = world.clock.wall()
        async with world.store.transaction() as tx:
            gate = Gate("wx1", now - 1, now - 2, "minute_limit", generation=7)
            await tx.write(Writes(gates=[gate]))
        await world.owe(60, "m2")
        assert await world.settled(*names) <= 2.0
