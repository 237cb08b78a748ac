"""The verbs of lifecycle and clock: a batch in, timers, what waits for its opening; the ledger watches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.changes import ActivityChanged, decode_change
from contracts.records import decode_record
from contracts.times import SECOND
from services.store.rows import CHANGES, DEAD, Writes
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.bury_parked import bury_parked
from services.transactions.fire_due import Fired, fire_due
from services.transactions.ledger import read_ledger
from tests.store.benches import HOUR, START, Bench, parked
from tests.store.support import Scene

REPEATS = 3


async def events(scene: Scene) -> dict[str, int]:
    """The ledger's events other than 0."""
    ledger = await read_ledger(scene.store)
    return {name: count for name, count in ledger.events.items() if count}


async def test_an_event_counts_once_however_often_it_comes(scene: Scene) -> None:
    """Repeats in one batch and in later ones change nothing but the count of repeats."""
    opening, done = scene.opened("a", "o"), scene.completed("a", "m", id_="c")
    applied = await scene.feed(opening, done, done, opening)
    assert applied.repeats == 2
    assert applied.nudges == {"a": 2}
    for _ in range(REPEATS):
        again = await scene.feed(done, opening)
        assert (again.repeats, again.nudges, again.dead) == (2, {}, [])
    assert await events(scene) == {"taken": 2, "applied": 2, "repeats": 2 + 2 * REPEATS}
    assert (await scene.card("a")).revision == 2


async def test_the_same_batch_at_once_from_two_processes_counts_once(scene: Scene) -> None:
    """A batch that was handed to two consumers in a rebalance."""
    await scene.open(*(f"a{n}" for n in range(8)))
    batch = [scene.completed(f"a{n % 8}", f"m{n}") for n in range(40)]
    other = await scene.bench.another()
    one, two = await asyncio.gather(scene.feed(*batch), scene.feed(*batch[::-1], store=other))
    assert one.repeats + two.repeats == 40
    assert (await events(scene))["taken"] == 48
    for n in range(8):
        async with scene.store.transaction() as tx:
            assert len((await tx.owed([f"a{n}"]))[f"a{n}"]) == 5


async def test_batches_that_cross_lose_nothing(scene: Scene) -> None:
    """Two consumers, the same activities in opposite orders, other events: all members are done."""
    await scene.open("a", "b", "c")
    other = await scene.bench.another()
    forth = [scene.completed(name, f"f{n}-{name}") for n in range(10) for name in "abc"]
    back = [scene.completed(name, f"g{n}-{name}") for n in range(10) for name in "cba"]
    await asyncio.gather(scene.feed(*forth), scene.feed(*back, store=other))
    async with scene.store.transaction() as tx:
        owed = await tx.owed(["a", "b", "c"])
    assert {name: len(members) for name, members in owed.items()} == {"a": 20, "b": 20, "c": 20}


async def test_the_second_opening_is_a_duplicate_when_equal_else_refused(scene: Scene) -> None:
    """One opening wins; the refusal is told on activity.changes."""
    await scene.feed(scene.opened("a", "o1"), scene.opened("a", "o2"), scene.opened("a", "o3", title="x"))
    assert await events(scene) == {"taken": 3, "applied": 1, "duplicate": 1, "refused": 1}
    kinds = [decode_change(row.body.encode()).data for row in await scene.outbox()]
    assert [type(each).__name__ for each in kinds] == ["ActivityChanged", "EventRefused"]


@pytest.mark.parametrize("together", [True, False], ids=["same batch", "another batch"])
async def test_what_came_early_is_applied_at_opening_in_order_of_arrival(
    scene: Scene, together: bool
) -> None:
    """Parked events count as parked, then as what they came to; nothing stays behind."""
    early = [
        scene.completed("a", "m1"),
        scene.event("activity.rescheduled", "a", deadline="2026-11-21T10:00:00Z"),
        scene.event("activity.rescheduled", "a", deadline="2026-11-21T11:00:00Z"),
        scene.completed("a", "m2"),
    ]
    opening = scene.opened("a")
    if together:
        await scene.feed(*early, opening)
    else:
        for each in early:
            await scene.feed(each)
        assert await events(scene) == {"taken": 4, "parked": 4}
        assert (await scene.counters())["events.parked"] == 4
        await scene.feed(opening)
    assert await events(scene) == {"taken": 5, "applied": 5}
    async with scene.store.transaction() as tx:
        assert [each.group_openid for each in (await tx.owed(["a"]))["a"]] == ["m1", "m2"]
        assert (await tx.lock(["a"]))["a"].activity.deadline == START + 3 * HOUR
        assert await parked(tx, "a") == []
    again = await scene.feed(*early)
    assert again.repeats == 4


async def test_an_opening_that_comes_too_late_takes_its_early_events_along(scene: Scene) -> None:
    """`opened` past `expires_at` is refused as expired, and so is what was parked for it."""
    opening = scene.opened("a", life=10)
    await scene.feed(scene.completed("a", "m1", id_="first"))
    await scene.bench.advance(10)
    applied = await scene.feed(opening, scene.completed("a", "m2", id_="second"))
    assert applied.nudges == {}
    assert await events(scene) == {"taken": 3, "refused": 2, "parked": 1}
    shown = await scene.store.show("a")
    assert shown is not None
    assert shown.activity.state == ""
    async with scene.store.transaction() as tx:
        waiting = await parked(tx, "a")
    assert [row.id for row in waiting] == ["second"]


async def test_a_letter_without_an_id_counts_by_its_coordinates(scene: Scene) -> None:
    """Malformed records are dead once, however often they are delivered; each delivery gets its letter."""
    broken = read_arrival(scene.record(b"{"))
    applied = await scene.feed(broken)
    assert [letter.reason for letter in applied.dead] == ["malformed"]
    again = await scene.feed(broken, broken)
    assert len(again.dead) == 2
    assert await events(scene) == {"taken": 1, "dead": 1, "repeats": 2}


async def test_a_replayed_dead_letter_counts(scene: Scene) -> None:
    """`events.dead` falls by one, the event is applied, and now it is a repeat for ever."""
    await scene.open("a")
    bad = scene.event("participant.completed", "a", "c1", members=[])
    assert [letter.reason for letter in (await scene.feed(bad)).dead] == ["invalid"]
    assert await events(scene) == {"taken": 2, "applied": 1, "dead": 1}
    mended = scene.completed("a", "m", id_="c1")
    assert (await scene.feed(mended)).nudges == {"a": 2}
    assert await events(scene) == {"taken": 2, "applied": 2}
    assert (await scene.counters()).get("events.dead", 0) == 0
    assert (await scene.feed(mended, bad)).repeats == 2
    assert (await scene.feed(bad)).repeats == 1


async def test_a_dead_letter_that_is_still_dead_keeps_its_count(scene: Scene) -> None:
    """Replaying what was not mended changes no fate."""
    bad = scene.event("participant.completed", "a", "c1", members=[])
    for _ in range(REPEATS):
        assert len((await scene.feed(bad)).dead) == 1
    assert await events(scene) == {"taken": 1, "dead": 1, "repeats": 2}


async def test_dead_and_alive_in_one_batch_under_one_key(scene: Scene) -> None:
    """The first wins; a living one behind a dead one is its replay at most in a later batch."""
    await scene.open("a")
    bad = scene.event("participant.completed", "a", "c1", members=[])
    good = scene.completed("a", "m", id_="c1")
    await scene.feed(bad, good)
    await scene.balance()
    await scene.feed(good)
    assert (await scene.card("a")).revision == 2
    told = await events(scene)
    assert (told["taken"], told["applied"], told.get("dead", 0)) == (2, 2, 0)


async def test_a_replay_may_be_parked_again(scene: Scene) -> None:
    """What was buried and is replayed before its opening waits again, and then counts."""
    early = scene.completed("a", "m", id_="c1")
    await scene.feed(early)
    await scene.bench.advance(7200)
    assert await bury_parked(scene.store, HOUR, 10) == 1
    assert await events(scene) == {"taken": 1, "dead": 1}
    await scene.feed(early)
    assert await events(scene) == {"taken": 1, "parked": 1}
    await scene.open("a")
    assert await events(scene) == {"taken": 2, "applied": 2}
    assert (await scene.feed(early)).repeats == 1


async def test_what_waited_too_long_goes_through_the_outbox_as_it_came(scene: Scene) -> None:
    """Bytes, key and headers stay; ours come last; the young ones wait on."""
    arrival = scene.completed("a", "old")
    record = scene.record(arrival.record.value, (("h", b"\xff"), ("n", None), ("livecard-reason", b"x")))
    await scene.feed(Arrival(record, arrival.content))
    await scene.bench.advance(3600)
    await scene.complete("a", "young")
    await scene.bench.advance(1)
    assert await bury_parked(scene.store, HOUR, 10) == 1
    (row,) = await scene.outbox()
    letter = decode_record(row.body)
    assert (row.topic, row.activity_id) == (DEAD, "a")
    assert (letter.key, letter.value) == (record.key, record.value)
    assert letter.headers[:2] == (("h", b"\xff"), ("n", None))
    headers: dict[str, Any] = dict(letter.headers[2:])
    assert headers["livecard-reason"] == b"parked_too_long"
    assert headers["livecard-offset"] == str(record.offset).encode()
    assert len(letter.headers) == 8
    assert await events(scene) == {"taken": 2, "dead": 1, "parked": 1}
    assert await bury_parked(scene.store, HOUR, 10) == 0


async def test_burying_is_bounded(scene: Scene) -> None:
    """A round takes so many events; the next takes the rest."""
    await scene.feed(*(scene.completed(f"a{n}", f"m{m}") for n in range(5) for m in range(2)))
    await scene.bench.advance(7200)
    assert [await bury_parked(scene.store, HOUR, 4) for _ in range(4)] == [4, 4, 2, 0]


async def test_two_buriers_bury_once(scene: Scene) -> None:
    """Any number of clocks."""
    await scene.feed(*(scene.completed(f"a{n}", "m") for n in range(20)))
    await scene.bench.advance(7200)
    other = await scene.bench.another()
    buried = await asyncio.gather(*(bury_parked(store, HOUR, 15) for store in (scene.store, other) * 2))
    assert sum(buried) + await bury_parked(scene.store, HOUR, 100) == 20
    assert len(await scene.outbox()) == 20


async def test_an_opening_that_meets_the_burier_counts_each_event_once(scene: Scene) -> None:
    """Either the opening found it, or it is a dead letter: never both, never neither."""
    await scene.feed(*(scene.completed(f"a{n}", "m") for n in range(10)))
    await scene.bench.advance(7200)
    other = await scene.bench.another()
    await asyncio.gather(
        bury_parked(other, HOUR, 100), *(scene.feed(scene.opened(f"a{n}")) for n in range(10))
    )
    told = await events(scene)
    assert told["taken"] == 20
    assert told["applied"] + told.get("dead", 0) == 20
    assert "parked" not in told


async def test_what_is_due_fires_once_and_is_due_again_at_the_end(scene: Scene) -> None:
    """near at end − notice, end at the deadline, then nothing ever."""
    await scene.open("a", deadline=100, notice=40)
    assert await fire_due(scene.store, 10, scene.rules) == Fired()
    await scene.bench.advance(60)
    fired = await fire_due(scene.store, 10, scene.rules)
    assert (fired.nudges, fired.lateness, fired.more) == ({"a": 2}, [0], False)
    assert (await scene.card("a")).state == "nearing"
    await scene.bench.advance(42)
    fired = await fire_due(scene.store, 10, scene.rules)
    assert (fired.nudges, fired.lateness) == ({"a": 3}, [2_000_000])
    assert (await scene.card("a")).state == "ended"
    assert await fire_due(scene.store, 10, scene.rules) == Fired()
    assert await scene.store.next_due() == (86_400 - 102) * SECOND  # its id dies: nobody delivered the end
    changed = [decode_change(row.body.encode()).data for row in await scene.outbox()]
    assert [each.reason for each in changed] == ["opened", "notice", "deadline"]  # type: ignore[union-attr]  # each is an ActivityChanged


async def test_two_clocks_fire_each_timer_once(scene: Scene) -> None:
    """Replicas share the work and repeat none of it."""
    await scene.feed(*(scene.opened(f"a{n}", deadline=10, notice=0) for n in range(30)))
    await scene.bench.advance(11)
    other = await scene.bench.another()
    rounds = await asyncio.gather(*(fire_due(store, 10, scene.rules) for store in (scene.store, other) * 3))
    fired = [name for each in rounds for name in each.nudges]
    rest = await fire_due(scene.store, 100, scene.rules)
    assert sorted([*fired, *rest.nudges]) == sorted(f"a{n}" for n in range(30))
    rows = [row for row in await scene.outbox() if row.topic == CHANGES]
    assert len(rows) == len({row.id for row in rows}) == 90  # opened, near, ended


async def test_apps_share_each_round_of_timers(scene: Scene) -> None:
    """The one timer of an app fires in the first round; there is more as long as an app had its share taken,
    though others left theirs."""
    await scene.feed(
        *(scene.opened(f"a{n}", appid="many", deadline=10, notice=0) for n in range(9)),
        scene.opened("b", appid="few", deadline=20, notice=0),
    )
    await scene.bench.advance(30)
    rounds = [await fire_due(scene.store, 4, scene.rules)]
    while rounds[-1].more:
        rounds.append(await fire_due(scene.store, 4, scene.rules))
    assert "b" in rounds[0].nudges
    assert sum(len(each.nudges) for each in rounds) == 10
    assert len(rounds) > 2


async def test_a_deadline_that_moved_away_does_not_fire(scene: Scene) -> None:
    """The due time follows the reschedule, in the same transaction."""
    await scene.open("a", deadline=100, notice=0)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline="2026-11-21T10:00:00Z"))
    await scene.bench.advance(150)
    assert await fire_due(scene.store, 10, scene.rules) == Fired()
    assert await scene.store.next_due() == 2 * HOUR - 150 * SECOND


async def test_all_outcomes_add_up(scene: Scene) -> None:
    """Applied, duplicate, late, refused, dead, parked: one each, and the ledger tells them apart."""
    await scene.open("a", choose="listed", participants=["m1", "m2", "m3"])
    done = scene.completed("a", "m2")
    await scene.bench.advance(5)
    await scene.feed(
        scene.completed("a", "m1"),
        scene.completed("a", "m1"),
        scene.completed("a", "stranger"),
        scene.event("participant.completed", "a", members=[]),
        scene.completed("later", "m"),
    )
    await scene.close("a")
    await scene.feed(done)
    assert await events(scene) == {
        "taken": 8, "applied": 3, "duplicate": 1, "late": 1, "refused": 1, "dead": 1, "parked": 1,
    }  # fmt: skip
    ledger = await read_ledger(scene.store)
    assert not ledger.settled
    assert ledger.revisions["raised"] == 3
    assert ledger.revisions["pending"] == 2


async def test_an_imbalance_is_told(bench: Bench) -> None:
    """The ledger checks the counters against each other and against the rows."""
    scene = Scene(bench)
    await scene.open("a")
    async with bench.store.transaction() as tx:
        await tx.write(Writes(counters={"events.taken": 1, "revisions.raised": -1, "events.parked": 1}))
    problems = (await read_ledger(bench.store)).problems
    assert problems == (
        "0 revisions raised, but 1 are accounted for",
        "1 events counted as parked, but 0 rows wait",
    )


async def test_a_field_that_does_not_exist_is_told_by_the_change_that_opens(scene: Scene) -> None:
    """A misspelt list of participants leaves nobody listed, which nobody would notice otherwise."""
    await scene.feed(
        scene.opened("a", choose="listed", particpants=["m1"], room={"opengid": "g", "openid": 1})
    )
    (change,) = [decode_change(row.body.encode()).data for row in await scene.outbox()]
    assert isinstance(change, ActivityChanged)
    assert change.participants == 0
    assert change.warnings == ("unknown_field:particpants", "unknown_field:room.openid")


async def test_a_reschedule_that_names_no_deadline_takes_none_away(scene: Scene) -> None:
    """It is a dead letter, and the deadline stays; only null removes one."""
    await scene.feed(scene.opened("a", deadline=3600.0))
    for data in ({}, {"notice": 60}, {"Deadline": "2026-11-21T10:00:00Z"}):
        applied = await scene.feed(scene.event("activity.rescheduled", "a", **data))
        assert [letter.reason for letter in applied.dead] == ["invalid"]
    async with scene.store.transaction() as tx:
        assert (await tx.lock(["a"]))["a"].activity.deadline == START + HOUR
    await scene.feed(scene.event("activity.rescheduled", "a", deadline=None))
    async with scene.store.transaction() as tx:
        assert (await tx.lock(["a"]))["a"].activity.deadline is None
