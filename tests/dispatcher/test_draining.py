"""Draining: what is in hand is finished, what was not sent is given back, what hangs is left to its lease."""

from __future__ import annotations

from tests.dispatcher.world import Make, in_virtual_time


@in_virtual_time()
async def test_draining_finishes_calls_in_flight_and_sends_nothing_more(make: Make) -> None:
    world = await make(members_per_call=1)
    world.wechat.latency = 3.0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1", "m2")
        await world.until(lambda: world.wechat.under_way)
    assert [call.members for call in world.wechat.calls] == [("m1",)]
    card = await world.card("a")
    assert (card.lease_until, card.doubt_at, card.behind) == (0, None, True)
    async with world.running("d2"):
        await world.settled("a")
    assert world.wechat.posts == {("a", "m1"): 1, ("a", "m2"): 1}


@in_virtual_time()
async def test_draining_gives_back_what_was_claimed_but_not_sent(make: Make) -> None:
    world = await make()
    world.wechat.before_send = 5.0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")

        async def claimed() -> bool:
            return (await world.card("a")).lease_until > 0

        await world.until(claimed)
    assert world.wechat.calls == []
    card = await world.card("a")
    assert (card.lease_until, card.doubt_at) == (0, None)


@in_virtual_time()
async def test_draining_is_bounded_and_what_hangs_is_left_to_its_lease(make: Make) -> None:
    world = await make(drain=2.0)
    world.wechat.hanging = {"wx1"}
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.under_way)
        stopped = world.clock.monotonic()
    assert world.clock.monotonic() - stopped <= 2.5
    assert (await world.card("a")).lease_until > 0


@in_virtual_time()
async def test_draining_waits_for_a_claim_that_is_under_way_and_gives_back_what_it_took(make: Make) -> None:
    world = await make()
    names = await world.owe(4)
    world.front.slow = 1.0
    async with world.running() as dispatcher:

        async def claimed() -> bool:
            return (await world.card("a0")).lease_until > 0

        await world.until(claimed)
        dispatcher.stop()
    assert world.wechat.calls == []
    assert {(await world.card(name)).lease_until for name in names} == {0}


@in_virtual_time()
async def test_draining_with_the_store_away_is_bounded(make: Make) -> None:
    """The answer is lost with the process; the lease's end puts the card in doubt."""
    world = await make(drain=2.0)
    await world.owe(1)
    async with world.running():
        await world.until(lambda: world.wechat.under_way)
        world.front.away = True
        stopped = world.clock.monotonic()
    assert world.clock.monotonic() - stopped <= 8.0
    world.front.away = False
    async with world.running("d2"):
        await world.settled("a0")
        assert (await world.card("a0")).doubt_at is not None
    assert world.wechat.posts["a0", "m1"] == 2
