"""The database's clock is set back by half an hour while dispatchers work."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from contracts.events import Completed
from services.store.rows import Writes
from statemachine.card import CLOSED, IN_SYNC, phase
from statemachine.gate import Gate
from tests.dispatcher.scripted import Reply, Sent
from tests.dispatcher.world import LoopClock, Make, in_virtual_time

HALF_AN_HOUR = 1_800.0
ANSWERS: tuple[Reply, ...] = (0, -1, "cut", "hang")


def trouble(sent: Sent) -> Reply:
    """Each activity has an answer of its own; the second app has used up its minute."""
    return 45011 if sent.appid == "wx2" else ANSWERS[int(sent.activity_id[1:]) % len(ANSWERS)]


@pytest.mark.parametrize("after", [3.0, 25.0])
@in_virtual_time()
async def test_no_card_waits_for_it(make: Make, after: float) -> None:
    """Throttled, backing off, in doubt, called for, left by a process that died, behind a gate: all are
    delivered within the longest of their waits, none of which began before."""
    world = await make()
    world.wechat.script = trouble
    (orphan,) = await world.owe(1, prefix="d")
    await world.claim_and_die(orphan)
    async with world.running("d1", "d2"):
        names = [*await world.owe(12), *await world.owe(3, appid="wx2", prefix="b")]
        await asyncio.sleep(after)
        await world.feed(*((name, Completed(("m2",))) for name in [*names, orphan]))
        await world.close("a1")
        names.append(orphan)
        cast("LoopClock", world.clock).back = HALF_AN_HOUR
        world.wechat.script = lambda _: 0
        assert await world.settled(*names) < world.rules.lease / 1_000_000

        async def trusted() -> bool:
            cards = [await world.card(name) for name in names]
            return all(phase(card) in (IN_SYNC, CLOSED) for card in cards)

        await world.until(trusted, patience=3 * world.rules.longest_wait / 1_000_000)
    assert all({(name, "m1"), (name, "m2")} <= world.wechat.posts.keys() for name in names)
    assert world.wechat.shown["a1"] == 3


@in_virtual_time()
async def test_a_clock_that_is_stepped_back_a_little_takes_no_card_from_its_holder(make: Make) -> None:
    """As NTP does it, where the lease is the longest of all waits: nobody else calls for the card."""
    world = await make(lease=90.0, stalled_after=200.0)
    world.wechat.script = lambda _: "hang"
    async with world.running("d1", "d2"):
        (name,) = await world.owe(1)
        await world.until(lambda: world.wechat.calls)
        fence = (await world.card(name)).fence
        cast("LoopClock", world.clock).back = 4.0
        await asyncio.sleep(5)  # virtual: moves the time on
        assert (await world.card(name)).fence == fence
        world.wechat.script = lambda _: 0


@in_virtual_time()
async def test_a_gate_that_went_back_to_before_its_closing_blocks_no_card(make: Make) -> None:
    """The database was restored while the dispatcher worked: it has seen a generation that is no more."""
    world = await make()
    answers = iter([45011])
    world.wechat.script = lambda _: next(answers, 0)
    async with world.running():
        await world.owe(1)
        await world.settled("a0")
        assert (await world.gate()).generation == 1
        async with world.store.transaction() as tx:
            await tx.lock_gates(["wx1"], wait=True)
            await tx.write(Writes(gates=[Gate("wx1")]))
        await asyncio.sleep(1)  # virtual: moves the time on
        await world.complete("a0", "m2")
        assert await world.settled("a0") < 1
