"""What is looked for among many rows, counted, or shown to people (the docstrings of ports.py)."""

from __future__ import annotations

import msgspec

from contracts.times import SECOND
from services.store.rooms import Binding
from services.store.rows import MemberCounts, OpenedActivity, Parked, Seen, Writes, shard_of
from statemachine.gate import Gate
from tests.store.benches import START
from tests.store.support import Scene


async def test_stale_parked_are_unopened_activities_with_something_old(scene: Scene) -> None:
    """One old event is enough; the limit counts activities; opened ones are not asked."""
    await scene.feed(scene.completed("b", "m"), scene.completed("a", "m"))
    await scene.bench.advance(10)
    await scene.feed(scene.completed("c", "m"), scene.completed("b", "n"))
    async with scene.store.transaction() as tx:
        assert await tx.stale_parked(START, 10) == ["a", "b"]
        assert await tx.stale_parked(START, 1) == ["a"]
        assert await tx.stale_parked(START - 1, 10) == []
    await scene.open("a")
    async with scene.store.transaction() as tx:
        assert await tx.stale_parked(START, 10) == ["b"]


async def test_the_newest_event_is_the_one_that_was_taken_in_last(scene: Scene) -> None:
    """What `livecard rewind` goes back from: repeats count no more, waiting ones do."""
    assert await scene.store.newest_event() is None
    event = scene.completed("a", "m")
    await scene.feed(event)
    assert await scene.store.newest_event() == START
    await scene.bench.advance(10)
    await scene.feed(event)
    assert await scene.store.newest_event() == START
    await scene.feed(scene.completed("a", "n"))
    assert await scene.store.newest_event() == START + 10 * SECOND


async def test_the_outbox_is_read_in_order_by_shard(scene: Scene) -> None:
    """By seq, of the shards asked for, bounded; what was published is gone."""
    names = [f"a{n}" for n in range(10, 50)]
    await scene.open(*names)
    rows = await scene.outbox()
    assert [row.activity_id for row in rows] == names
    assert [row.seq for row in rows] == sorted(row.seq for row in rows)
    assert all(row.shard == shard_of(row.activity_id) for row in rows)
    shard = rows[0].shard
    mine = [row for row in rows if row.shard == shard]
    assert await scene.store.outbox([shard], 1_000) == mine
    assert await scene.store.outbox(list(range(16)), 3) == rows[:3]
    assert await scene.store.outbox([], 3) == []
    await scene.store.delete_outbox([row.seq for row in rows[:39]])
    assert [row.activity_id for row in await scene.outbox()] == ["a49"]
    await scene.store.delete_outbox([])
    await scene.complete("a49", "m")
    assert [row.seq for row in await scene.outbox()][1] > rows[39].seq


async def test_openings_are_the_last_ones_newest_first_with_who_is_listed(scene: Scene) -> None:
    """As the events named them, whoever is added included; none for everyone, none that is only parked."""
    people = {"choose": "listed", "participants": ["gp-2", "gp-1"]}
    await scene.open("a", "b", title="团建", publisher="gp-c", **people)
    await scene.bench.advance(1)
    await scene.open("c", choose="everyone")
    await scene.feed(scene.completed("d", "m"), scene.completed("c", "m"))
    await scene.feed(scene.event("participant.added", "b", members=["gp-3"]))
    found = await scene.store.openings(10)
    assert [each.activity_id for each in found] == ["c", "a", "b"]
    assert [each.listed for each in found] == [(), ("gp-1", "gp-2"), ("gp-1", "gp-2", "gp-3")]
    seen = await scene.store.show("a")
    assert seen is not None
    assert found[1] == OpenedActivity(
        activity_id="a",
        appid=seen.card.appid,
        template=seen.card.template,
        version=seen.card.version,
        title="团建",
        publisher="gp-c",
        choose="listed",
        expires_at=seen.activity.expires_at,
        listed=("gp-1", "gp-2"),
    )
    assert await scene.store.openings(2) == found[:2]
    assert await scene.store.openings(1, "b") == found[2:]
    assert await scene.store.openings(1, "d") == []


async def test_next_due_is_relative_and_negative_when_overdue(scene: Scene) -> None:
    """None when nothing will ever be due."""
    assert await scene.store.next_due() is None
    await scene.open("a", deadline=100, notice=0)
    assert await scene.store.next_due() == 100_000_000
    await scene.bench.advance(101)
    assert await scene.store.next_due() == -1_000_000


async def test_backlog_counts_and_ages(scene: Scene) -> None:
    """Behind, parked, outbox, due, who waits for a binding: each with the age of its oldest; bindings; and
    how long a dispatcher could have had the oldest card: not at all while its app's gate is closed."""
    empty = await scene.store.backlog()
    assert msgspec.structs.astuple(empty) == (0,) * 12
    await scene.open("a", "b", deadline=4, notice=0, room={"opengid": "g-1"})
    await scene.complete("early", "m")
    await scene.bench.advance(2)
    await scene.complete("a", "m")
    await scene.feed(scene.event("participant.completed", "a", openids=["o-1", "o-2"]))
    await scene.bench.advance(3)
    async with scene.store.transaction() as tx:
        await tx.bind(Binding("wx1", "g-1", "o-3", False, "m"))
    found = await scene.store.backlog()
    rows = len(await scene.outbox())
    assert msgspec.structs.astuple(found) == (
        1, 3_000_000, 1, 5_000_000, rows, 5_000_000, 2, 1_000_000, 2, 3_000_000, 1, 3_000_000,
    )  # fmt: skip
    async with scene.store.transaction() as tx:
        gates = await tx.lock_gates(["wx1"], wait=True)
        closed = msgspec.structs.replace(
            gates["wx1"], closed_until=await tx.now() + 60_000_000, reason="token"
        )
        await tx.write(Writes(gates=[closed]))
    assert (await scene.store.backlog()).claimable_age == 0


async def test_show_tells_everything_about_one_activity(scene: Scene) -> None:
    """Members by state and delivery, attempts, gate, what is parked; None when never seen."""
    assert await scene.store.show("a") is None
    await scene.complete("a", "m1")
    early = await scene.store.show("a")
    assert early is not None
    assert early.activity.state == ""
    assert early.parked == Parked(1, START)
    assert early.gate is None
    await scene.open("a", choose="listed", participants=["m1", "m2", "m3", "m4"])
    await scene.deliver("a")
    await scene.complete("a", "m2", "m3")
    await scene.skip("a", "m3")
    shown = await scene.store.show("a")
    assert shown is not None
    assert shown.members == MemberCounts(pending=1, done=3, owed=1, confirmed=1, skipped=("m3",))
    assert shown.parked == Parked()
    assert shown.gate == Gate("wx1")
    assert [each.outcome for each in shown.attempts] == ["ok"]
    assert shown.card.revision == 3
    assert shown.now == START
    assert shown == msgspec.json.decode(msgspec.json.encode(shown), type=Seen)


async def test_a_late_member_counts_as_done_and_late_but_not_as_owed(scene: Scene) -> None:
    """Late members are recorded and never delivered."""
    await scene.open("a")
    await scene.bench.advance(1)
    await scene.close("a")
    await scene.feed(scene.completed("a", "m", time=START))
    shown = await scene.store.show("a")
    assert shown is not None
    assert shown.members == MemberCounts(done=1, late=1)
