"""Redelivering beside the end: before it was called, after it, and when it was refused."""

from __future__ import annotations

import asyncio

import pytest

from services.transactions.redeliver import redeliver
from statemachine.card import phase
from tests.dispatcher.scripted import Sent
from tests.dispatcher.world import Make, in_virtual_time


@pytest.mark.parametrize("members", [(), ("m1",)], ids=["nobody owed", "somebody owed"])
@in_virtual_time(patience=900)
async def test_an_end_that_is_refused_is_given_up_and_redeliver_tries_it_again(
    make: Make, members: tuple[str, ...]
) -> None:
    world = await make()
    world.wechat.script = lambda _: 99_999
    async with world.running():
        await world.open("a", life=7_200.0)
        if members:
            await world.complete("a", *members)
        await world.close("a")
        await asyncio.sleep(600)
        assert [call.target_state for call in world.wechat.calls] == [1] * 5 * len(members) + [3] * 5
        card = await world.card("a")
        assert (phase(card), card.verdict) == ("given_up", "unknown_code")
        world.wechat.script = lambda _: 0
        again = await redeliver(world.store, "a")
        assert (again.revived, again.members) == (True, ())
        await world.settled("a")
    assert [call.target_state for call in world.wechat.calls[-1:]] == [3]
    assert phase(await world.card("a")) == "closed"
    assert (await redeliver(world.store, "a")).refused


@in_virtual_time()
async def test_members_that_are_redelivered_while_the_end_waits_go_before_it(make: Make) -> None:
    """Rejected by a template that was wrong, which is mended before the end was called."""
    world = await make(members_per_call=1)
    mended: list[bool] = []

    def script(sent: Sent) -> int:
        if mended or not sent.members:
            return 0
        return 40097 if "m1" in sent.members else -1

    world.wechat.script = script
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1", "m2")
        await world.close("a")
        await world.until(lambda: len(world.wechat.calls) > 2)
        mended.append(True)
        assert (await redeliver(world.store, "a")).members == ("m1",)
        await world.settled("a")
    assert world.taken() == {"m1", "m2"}
    assert world.wechat.calls[-1].target_state == 3


@in_virtual_time()
async def test_nobody_is_redelivered_once_the_end_was_called(make: Make) -> None:
    """Its outcome is unknown yet."""
    world = await make()
    world.wechat.script = lambda sent: 40097 if sent.members else "hang"
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.close("a")
        await world.until(lambda: world.wechat.calls[-1:] and world.wechat.calls[-1].target_state == 3)
        refused = await redeliver(world.store, "a")
        assert (refused.members, refused.revived, bool(refused.refused)) == ((), False, True)
        world.wechat.script = lambda _: 0
        await world.settled("a")
    assert world.taken() == set()
