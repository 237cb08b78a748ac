"""Bindings, people who wait for theirs, and the reads of a room: what each primitive answers."""

from __future__ import annotations

import asyncio

import pytest

from services.store.ports import Tx
from services.store.rooms import Binding, BindingKey, MemberPlace
from services.store.rows import Writes
from statemachine.model import Room, Unbound
from tests.store.benches import DAY, START, Bench, rolled_back
from tests.store.support import Scene

ANN = Binding(
    "wx1", "g-1", "o-ann", single=False, group_openid="ann", nickname="安", avatar_url="https://a/1"
)
KEY = BindingKey("wx1", "g-1", "o-ann")


def waits(
    openid: str, activity: str = "a", id_: str = "e1", *, time: int = START, room: str = "g-1"
) -> Unbound:
    """Somebody waits."""
    return Unbound("wx1", room, openid, activity, "/s", id_, "livecard.participant.completed", time)


async def bind(scene: Scene | Bench, *bindings: Binding) -> None:
    for each in bindings:
        async with scene.store.transaction() as tx:
            await tx.bind(each)


async def test_a_binding_comes_back_as_it_was_written_with_the_moment(bench: Bench) -> None:
    await bind(bench, ANN, Binding("wx1", "s-1", "o-ann", single=True, group_openid="ann2"))
    (read,) = await bench.store.room_members("wx1", "g-1")
    assert read == Binding("wx1", "g-1", "o-ann", False, "ann", "安", "https://a/1", START)
    assert read.single is False
    (other,) = await bench.store.room_members("wx1", "s-1")
    assert (other.single, other.nickname, other.avatar_url) == (True, None, None)
    assert await bench.store.room_members("wx2", "g-1") == []


async def test_the_latest_binding_wins_and_what_is_not_given_stays(bench: Bench) -> None:
    await bind(bench, ANN)
    await bench.advance(5)
    await bind(
        bench, Binding("wx1", "g-1", "o-ann", single=False, group_openid="ann2", avatar_url="https://a/2")
    )
    (read,) = await bench.store.room_members("wx1", "g-1")
    assert read == Binding("wx1", "g-1", "o-ann", False, "ann2", "安", "https://a/2", START + 5_000_000)


async def test_a_lock_makes_rows_for_the_unknown_and_tells_who_is_bound(bench: Bench) -> None:
    """Whoever was only seen is no member of the room, and may be bound later."""
    await bind(bench, ANN)
    keys = [KEY, BindingKey("wx1", "g-1", "o-bob"), BindingKey("wx2", "g-1", "o-ann")]
    for _ in range(2):
        async with bench.store.transaction() as tx:
            assert await tx.lock_bindings(keys) == {KEY: "ann"}
            assert await tx.lock_bindings([]) == {}
    assert [each.openid for each in await bench.store.room_members("wx1", "g-1")] == ["o-ann"]
    await bind(bench, Binding("wx1", "g-1", "o-bob", single=False, group_openid="bob"))
    async with bench.store.transaction() as tx:
        assert await tx.lock_bindings(keys) == {KEY: "ann", keys[1]: "bob"}


async def test_what_a_transaction_did_to_bindings_goes_with_it(bench: Bench) -> None:
    async with rolled_back(bench.store) as tx:
        await tx.lock_bindings([KEY])
        await tx.bind(ANN)
        await tx.write(Writes(wait=[waits("o-ann")]))
    assert await bench.store.room_members("wx1", "g-1") == []
    assert (await bench.store.totals())[3] == 0
    await waiting(bench, waits("o-ann"))
    async with rolled_back(bench.store) as tx:
        assert await tx.take_unbound(KEY) == [waits("o-ann")]
    async with bench.store.transaction() as tx:
        assert await tx.unbound(["a"]) == [waits("o-ann")]


async def waiting(bench: Bench, *rows: Unbound) -> None:
    async with bench.store.transaction() as tx:
        await tx.write(Writes(wait=[*rows]))


async def test_who_waits_is_kept_and_counted_once(bench: Bench) -> None:
    """By person, activity and type, however many events name him; of their times the earliest."""
    added = waits("o-ann", id_="e0")._replace(type="livecard.participant.added")
    rows = [waits("o-ann", time=START - 9), waits("o-bob", time=START - 8), added, waits("o-ann", "b")]
    await waiting(bench, waits("o-ann"), added, waits("o-ann", "b"), waits("o-bob", time=START - 8))
    await waiting(bench, waits("o-ann", id_="e3", time=START - 9), waits("o-ann", id_="e2", time=START - 5))
    await waiting(bench, waits("o-ann", id_="e4", time=START - 7), waits("o-bob", id_="e4"))
    await waiting(bench, waits("o-eve", "c", "e6", time=START), waits("o-eve", "c", "e5", time=START - 1))
    totals, _, _, unbound = await bench.store.totals()
    assert (totals, unbound) == ({"openids.waited": 5}, 5)
    async with bench.store.transaction() as tx:
        assert await tx.unbound(["b", "a"]) == sorted(rows)
        assert await tx.unbound([]) == []
        assert await tx.count_unbound(["a", "b", "x"]) == {"a": 3, "b": 1}
        assert await tx.unbound(["c"]) == [waits("o-eve", "c", "e6", time=START - 1)]
        assert await tx.count_unbound([]) == {}


async def test_a_binding_takes_what_waits_for_it_in_this_room_in_order_of_arrival(bench: Bench) -> None:
    rows = [waits("o-ann", "z"), waits("o-ann", "b", "e2"), waits("o-ann", "a", "e3")]
    for row in rows:
        await waiting(bench, row)
        await bench.advance(1)
    others = [waits("o-bob"), waits("o-ann", "y", room="g-2")]
    await waiting(bench, *others)
    async with bench.store.transaction() as tx:
        assert await tx.take_unbound(KEY) == rows
    async with bench.store.transaction() as tx:
        assert await tx.take_unbound(KEY) == []
        assert await tx.unbound(["a", "b", "y", "z"]) == sorted(others)


@pytest.mark.parametrize("binding_first", [True, False])
@pytest.mark.parametrize("seen", [True, False])
async def test_a_binding_and_an_event_meet_at_one_lock(bench: Bench, binding_first: bool, seen: bool) -> None:
    """Whoever comes first to the row, which nobody may have seen before: the other one goes on when it is
    over, and sees what it did."""
    if bench.kind == "sqlite":
        pytest.skip("one writer at a time")
    if seen:
        async with bench.store.transaction() as tx:
            await tx.lock_bindings([KEY])

    async def names(tx: Tx) -> object:
        bound = await tx.lock_bindings([KEY])
        await tx.write(Writes(wait=[] if bound else [waits(KEY.openid)]))
        return bound

    async def binds(tx: Tx) -> object:
        await tx.bind(ANN)
        return await tx.take_unbound(KEY)

    first, second = (binds, names) if binding_first else (names, binds)
    other = await bench.another()
    held, goes_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with bench.store.transaction() as tx:
            await first(tx)
            held.set()
            await goes_on.wait()

    async def follow() -> object:
        async with other.transaction() as tx:
            return await second(tx)

    holding = asyncio.create_task(hold())
    await held.wait()
    following = asyncio.create_task(follow())
    await asyncio.wait([following], timeout=0.05)
    assert not following.done()
    goes_on.set()
    await holding
    assert await following == ({KEY: "ann"} if binding_first else [waits(KEY.openid)])


async def test_a_room_is_what_its_opening_says(scene: Scene) -> None:
    """Of those that were opened in one."""
    await scene.open("a", room={"opengid": "g-1"})
    await scene.open("b", room={"open_single_roomid": "s-1"}, appid="wx2")
    await scene.open("c")
    await scene.complete("early", "m")
    async with scene.store.transaction() as tx:
        assert await tx.rooms(["early", "c", "b", "a", "unknown"]) == {
            "a": Room("wx1", "g-1"),
            "b": Room("wx2", "s-1"),
        }
        assert await tx.rooms([]) == {}


async def test_the_members_of_a_room_come_in_pages(bench: Bench) -> None:
    """By group_openid, then openid: two openids of one member are two rows, also over a page's border."""
    people = [("c", "o-3"), ("a", "o-1"), ("b", "o-2"), ("b", "o-0"), ("d", "o-9")]
    await bind(bench, *(Binding("wx1", "g-1", openid, False, member) for member, openid in people))
    await bind(bench, Binding("wx1", "g-2", "o-1", False, "z"))
    found: list[tuple[str, str]] = []
    place = MemberPlace()
    while page := await bench.store.room_members("wx1", "g-1", place, 2):
        found += [(each.group_openid, each.openid) for each in page]
        place = MemberPlace(*found[-1])
    assert found == sorted(people)


async def test_old_bindings_are_forgotten(bench: Bench) -> None:
    """By when they were last said; a lock that finds its row gone makes it anew."""
    await bind(bench, ANN, Binding("wx1", "g-1", "o-bob", False, "bob"))
    await bench.advance(60)
    await bind(bench, ANN)
    ages = {"inbox": DAY, "attempts": DAY, "activities": DAY, "bindings": 59_000_000}
    assert (await bench.store.prune(**ages, limit=10))["bindings"] == 1
    assert [each.openid for each in await bench.store.room_members("wx1", "g-1")] == ["o-ann"]
    async with bench.store.transaction() as tx:
        assert await tx.lock_bindings([KEY, KEY._replace(openid="o-bob")]) == {KEY: "ann"}


async def test_nobody_waits_longer_than_the_activity_is_kept(scene: Scene) -> None:
    """And the ledger knows that they are gone."""
    await scene.open("a", "b", life=100, room={"opengid": "g-1"})
    await scene.feed(
        scene.event("participant.completed", "a", openids=["o-1", "o-2"]),
        scene.event("participant.completed", "b", openids=["o-1"]),
    )
    await scene.bench.advance(50)
    await scene.tick()
    await scene.bench.advance(DAY / 1_000_000 + 60)
    pruned = await scene.store.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=10)
    assert (pruned["activities"], pruned["unbound"]) == (2, 3)
    counters = await scene.counters()
    assert (counters["openids.waited"], counters["openids.dropped"]) == (3, 3)
    assert (await scene.store.backlog()).unbound == 0


async def test_who_waits_counts_for_how_many_activities_are_forgotten_at_once(scene: Scene) -> None:
    """As members do: a step deletes no more rows than it may, or those of one activity."""
    await scene.open("a", "b", "c", life=100, room={"opengid": "g-1"})
    people = [f"o-{number}" for number in range(3)]
    await scene.feed(
        *(scene.event("participant.completed", each, openids=people) for each in ("a", "b", "c"))
    )
    await scene.bench.advance(50)
    await scene.tick()
    await scene.bench.advance(DAY / 1_000_000 + 60)
    for activities in (1, 2, 0):
        pruned = await scene.store.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=activities * 3 or 1)
        assert (pruned["activities"], pruned["unbound"]) == (activities, activities * 3)
