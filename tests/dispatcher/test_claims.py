"""What a claim takes first, what it leaves, and what it tells about the rest."""

from __future__ import annotations

from functools import partial

from contracts.times import SECOND
from services.store.rows import Writes
from services.transactions.claim import Claims, claim
from statemachine.card import Card
from statemachine.gate import Gate
from tests.dispatcher.world import Make, World, in_virtual_time


def _back_off(seconds: int, card: Card, at: int) -> None:
    card.retry_at = at + seconds * SECOND


async def take(world: World, limit: int = 100, **rooms: int) -> Claims:
    """A claim with so much room per app (100 each where none is told)."""
    wide = rooms or {"wx1": 100, "wx2": 100}
    return await claim(world.store, wide, holder="test", limit=limit, rules=world.rules)


async def put_gate(world: World, gate: Gate) -> None:
    async with world.store.transaction() as tx:
        await tx.write(Writes(gates=[gate]))


def names(claims: Claims) -> list[str]:
    return [each.card.activity_id for each in claims.cards]


@in_virtual_time()
async def test_apps_take_turns_and_within_each_ends_go_first(make: Make) -> None:
    world = await make()
    await world.owe(10)
    await world.owe(2, appid="wx2", prefix="b")
    await world.close("a9")
    claims = await take(world, limit=5)
    assert names(claims)[0] == "a9"
    assert sorted(each[0] for each in names(claims)[1:]) == ["a", "a", "b", "b"]
    assert (claims.found, claims.next_in) == (5, None)


@in_virtual_time()
async def test_an_app_gets_no_more_than_its_room_and_an_app_without_room_nothing(make: Make) -> None:
    world = await make()
    await world.owe(10)
    await world.owe(10, appid="wx2", prefix="b")
    claims = await take(world, wx1=3, wx2=0)
    assert len(claims.cards) == 3
    assert {each.card.appid for each in claims.cards} == {"wx1"}
    assert claims.filled({"wx1": 3, "wx2": 20}, 4)
    assert (await take(world, wx1=0, wx2=0)) == Claims()


@in_virtual_time()
async def test_a_gate_whose_closing_is_over_lets_few_through_until_a_first_success(make: Make) -> None:
    world = await make()
    await world.owe(10)
    now = world.clock.wall()
    await put_gate(world, Gate("wx1", now - 1, now - 2, "minute_limit", generation=3))
    claims = await take(world)
    assert len(claims.cards) == 4
    assert {each.passage.generation for each in claims.cards} == {3}
    assert claims.filled({"wx1": 100}, 4), "there may be more than it was let take"


@in_virtual_time()
async def test_one_claim_gets_the_probe_and_moves_the_gate_on_by_a_lease(make: Make) -> None:
    world = await make()
    await world.owe(10)
    now = world.clock.wall()
    await put_gate(world, Gate("wx1", now - 1, now - 2, "misconfigured", generation=3))
    claims = await take(world)
    (probe,) = claims.cards
    assert probe.passage.probe == now - 1
    assert (await world.gate()).closed_until == now + world.rules.lease
    again = await take(world)
    assert (again.cards, again.found, again.next_in) == ([], 0, world.rules.lease)


@in_virtual_time()
async def test_the_next_wake_is_the_next_card_ahead_of_an_open_gate_or_the_end_of_one(make: Make) -> None:
    world = await make()
    await world.owe(1)
    await world.owe(1, appid="wx2", prefix="b")
    now = world.clock.wall()

    for name, seconds in (("a0", 7), ("b0", 3)):
        await world.change_card(name, partial(_back_off, seconds))
    assert (await take(world)).next_in == 3 * SECOND
    assert (await take(world, wx1=5)).next_in == 7 * SECOND, "of an app without room nothing is waited for"
    await put_gate(world, Gate("wx2", now + 5 * SECOND, now, "minute_limit"))
    assert (await take(world)).next_in == 5 * SECOND


@in_virtual_time()
async def test_what_is_in_hand_or_behind_a_closed_gate_is_not_taken(make: Make) -> None:
    world = await make()
    await world.owe(2)
    assert len((await take(world, wx1=1)).cards) == 1
    now = world.clock.wall()
    await put_gate(world, Gate("wx1", now + 1, now, "minute_limit"))
    assert (await take(world)).cards == []


@in_virtual_time()
async def test_what_needs_no_call_is_settled_by_the_claim(make: Make) -> None:
    """A notice that came and went: nothing differs any more."""
    world = await make()
    await world.open("a")
    await world.reschedule("a", 600.0, notice=3_600)
    await world.reschedule("a", 80_000.0, notice=3_600)
    claims = await take(world)
    assert (claims.cards, claims.found) == ([], 1)
    card = await world.card("a")
    assert (card.settled, card.behind) == (card.revision, False)
