"""What a claim takes first, and what it tells about the rest."""

from __future__ import annotations

from services.store.rows import Gate, Writes
from services.transactions.claim import Claims, claim
from tests.dispatcher.world import Make, World, in_virtual_time


async def take(world: World, names: list[str], limit: int = 100, room: int = 100) -> Claims:
    return await claim(
        world.store,
        names,
        holder="test",
        limit=limit,
        room={"wx1": room, "wx2": room},
        default_room=4,
        rules=world.rules,
    )


async def behind(world: World, appid: str, *names: str) -> None:
    await world.open(*names, appid=appid)
    for name in names:
        await world.complete(name, "m1")


@in_virtual_time()
async def test_ends_go_first_then_apps_in_turn(make: Make) -> None:
    world = await make()
    busy = [f"a{number}" for number in range(10)]
    await behind(world, "wx1", *busy)
    await behind(world, "wx2", "b0", "b1")
    await world.close("a9")
    claims = await take(world, [*busy, "b0", "b1"], limit=5)
    assert [each.card.activity_id for each in claims.cards] == ["a9", "b0", "a0", "b1", "a1"]
    assert set(claims.crowded) == {f"a{number}" for number in range(2, 9)}
    assert all(claims.later[name] == 0 for name in claims.crowded)


@in_virtual_time()
async def test_a_gate_that_waits_for_its_first_success_lets_few_through(make: Make) -> None:
    world = await make()
    names = [f"a{number}" for number in range(10)]
    await behind(world, "wx1", *names)
    async with world.store.transaction() as tx:
        now = await tx.now()
        await tx.write(Writes(gates=[Gate("wx1", now - 1, now - 2, "minute_limit")]))
    claims = await take(world, names)
    assert len(claims.cards) == 4
    assert [gate.appid for gate in claims.gates] == ["wx1"]
    assert {each.appid for each in claims.crowded.values()} == {"wx1"}


@in_virtual_time()
async def test_a_closed_gate_and_a_living_lease_are_not_waited_for(make: Make) -> None:
    world = await make()
    await behind(world, "wx1", "a", "b")
    assert len((await take(world, ["a"])).cards) == 1
    async with world.store.transaction() as tx:
        now = await tx.now()
        await tx.write(Writes(gates=[Gate("wx1", now + 1, now, "minute_limit")]))
    claims = await take(world, ["a", "b"])
    assert (claims.cards, claims.later, claims.crowded, claims.skipped) == ([], {}, {}, [])


@in_virtual_time()
async def test_what_was_never_opened_is_told_apart_from_what_needs_nothing(make: Make) -> None:
    world = await make()
    await world.open("a")
    assert (await take(world, ["a", "never"])).skipped == ["never"]
