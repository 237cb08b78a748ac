"""The primitives that need no race: what each answers, row by row (the docstrings of ports.py)."""

from __future__ import annotations

import msgspec

from contracts.records import Record, encode_record
from services.store.rows import (
    CONFIRMED,
    OWED,
    SKIPPED,
    Attempt,
    InboxKey,
    MemberMark,
    MemberRow,
    Moved,
    ParkedRow,
    Progress,
    Writes,
    shard_of,
)
from services.store.rows import Opened as OpenedRow
from statemachine.card import Card
from statemachine.gate import Gate
from statemachine.model import Opening
from statemachine.step import Owed
from tests.store.benches import DAY, START, Bench, parked
from tests.store.support import Scene

OPENING = Opening("wx1", "complete", "trial", "团建", "cindy", "room", None)


async def test_an_activity_comes_back_as_it_was_written(bench: Bench) -> None:
    """Every column of the lifecycle's survives, nulls and booleans included."""
    async with bench.store.transaction() as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        activity.state, activity.reason, activity.choose = "nearing", "notice", "everyone"
        activity.close_when_complete, activity.notice = True, 7
        activity.deadline, activity.expires_at, activity.ended_at = START + 1, START + DAY, None
        activity.end_known_at, activity.rescheduled_at = START + 2, START + 3
        activity.participants, activity.done, activity.revision, activity.opened_digest = 4, 3, 2, "d"
        activity.expiry_warned, activity.continued_by = True, "b"
        await tx.write(Writes(activities=[Moved(activity, card, START + 9)]))
    async with bench.store.transaction() as tx:
        read, card = (await tx.lock(["a"]))["a"]
    assert read == activity
    assert (read.close_when_complete, read.expiry_warned) == (True, True)
    assert (card.state, card.revision, card.expires_at) == ("nearing", 2, START + DAY)
    assert await bench.store.next_due() == 9


WANTED = {
    "settled": 5, "shown": 2, "may_show": 3, "cannot_lower": True, "throttled_until": 1, "retry_at": 2,
    "attempts": 3, "code_attempts": 4, "fence": 6, "lease_until": 7, "lease_by": "h", "doubt_at": 8,
    "verdict": "rejected", "list_limit": 9, "singles": 10, "succeeded": True, "end_by": 13,
    "behind_since": 12, "progress_calls": 11, "progress_members": ("m1", "群 \"x\""),
}  # fmt: skip


async def test_a_card_comes_back_as_it_was_written(bench: Bench) -> None:
    """Every column of the delivery's survives; of the activity's it writes the revision alone."""
    await Scene(bench).open("a", version="develop")
    async with bench.store.transaction() as tx:
        (card,) = await tx.lock_cards(["a"])
        await tx.write(Writes(cards=[msgspec.structs.replace(card, **WANTED)]))
    fixed = {"appid": "wx9", "version": "release", "state": "ended", "expires_at": 1}
    async with bench.store.transaction() as tx:
        (card,) = await tx.lock_cards(["a"])
        await tx.write(Writes(cards=[msgspec.structs.replace(card, revision=99, **fixed)]))
    async with bench.store.transaction() as tx:
        (read,) = await tx.lock_cards(["a"])
        activity, _ = (await tx.lock(["a"]))["a"]
    assert {name: getattr(read, name) for name in WANTED} == WANTED
    assert set(WANTED) == set(Card.__struct_fields__[Card.__struct_fields__.index("settled") :])
    assert (read.appid, read.version, read.state, read.expires_at) == ("wx1", "develop", "open", START + DAY)
    assert read.revision == activity.revision == 99
    assert read.succeeded is True


async def test_a_card_comes_back_as_it_was_written_with_its_activity(bench: Bench) -> None:
    """As the lifecycle and the clock write it."""
    await Scene(bench).open("a")
    async with bench.store.transaction() as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        await tx.write(Writes(activities=[Moved(activity, msgspec.structs.replace(card, **WANTED), None)]))
    async with bench.store.transaction() as tx:
        _, read = (await tx.lock(["a"]))["a"]
    assert {name: getattr(read, name) for name in WANTED} == WANTED


async def test_progress_is_what_a_completion_changes_and_nothing_else(bench: Bench) -> None:
    """How many are done, the revision, and of the card what a raise changes where nothing is in its way."""
    await Scene(bench).open("a")
    async with bench.store.transaction() as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        activity.done, activity.revision, activity.state = 3, 2, "ended"
        raised = msgspec.structs.replace(card, **WANTED, revision=2)
        await tx.write(Writes(progress=[Progress(activity, raised)]))
    async with bench.store.transaction() as tx:
        read, now = (await tx.lock(["a"]))["a"]
    assert (read.done, read.revision, read.state) == (3, 2, "open")
    assert now == msgspec.structs.replace(card, revision=2, retry_at=2, behind_since=12)


async def test_the_opening_is_written_once(bench: Bench) -> None:
    """With everything that people are told about it."""
    async with bench.store.transaction() as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        activity.state, activity.revision, activity.expires_at = "open", 1, START + DAY
        card.settled = 1
        moved = Moved(activity, card, None)
        await tx.write(Writes(activities=[moved], opened=[OpenedRow("a", OPENING)]))
    async with bench.store.transaction() as tx:
        (card,) = await tx.lock_cards(["a"])
    assert (card.settled, card.behind_since, card.behind) == (1, None, False)
    assert (card.appid, card.template, card.version) == ("wx1", "complete", "trial")
    shown = await bench.store.show("a")
    assert shown is not None
    assert (shown.title, shown.publisher, shown.opengid) == ("团建", "cindy", "room")
    assert (shown.open_single_roomid, shown.opened_at) == (None, START)


async def test_behind_since_is_when_the_row_fell_behind(scene: Scene) -> None:
    """A later revision does not move it; being true again clears it."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.bench.advance(5)
    await scene.complete("a", "m2")
    assert (await scene.card("a")).behind_since == START
    await scene.deliver("a")
    assert (await scene.card("a")).behind_since is None


async def test_members_are_those_named_that_exist(bench: Bench) -> None:
    """Pairs: a member of one activity is nobody in another."""
    rows = [
        MemberRow("a", "m1", "pending", False, None),
        MemberRow("a", "m2", "done", True, START),
        MemberRow("b", "m1", "done", False, START + 1),
    ]
    async with bench.store.transaction() as tx:
        await tx.lock(["a", "b"])
        await tx.write(Writes(members=rows))
    async with bench.store.transaction() as tx:
        found = await tx.members([("a", "m2"), ("a", "m1"), ("a", "m3"), ("b", "m2"), ("c", "m1")])
        assert sorted(map(msgspec.structs.astuple, found)) == sorted(map(msgspec.structs.astuple, rows[:2]))
        assert all(isinstance(row.late, bool) for row in found)
        assert await tx.members([]) == []


async def test_all_members_are_everybody_in_these_activities(scene: Scene) -> None:
    await scene.open("a", "b", "c")
    for name, members in (("a", ("m1", "m2")), ("b", ("m1",))):
        await scene.complete(name, *members)
    async with scene.store.transaction() as tx:
        found = await tx.all_members(["a", "c", "unknown"])
        assert await tx.all_members([]) == []
    assert sorted(row.group_openid for row in found) == ["m1", "m2"]
    assert found[0] == MemberRow("a", found[0].group_openid, "done", False, START)


async def test_the_lifecycle_updates_a_member_without_touching_what_was_delivered(bench: Bench) -> None:
    """`delivered` and `doubtful` are the dispatcher's."""
    async with bench.store.transaction() as tx:
        await tx.lock(["a"])
        await tx.write(Writes(members=[MemberRow("a", "m", "done", False, START)]))
    async with bench.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m", SKIPPED, True)]))
    async with bench.store.transaction() as tx:
        await tx.write(Writes(members=[MemberRow("a", "m", "done", False, START + 5)]))
    async with bench.store.transaction() as tx:
        assert await tx.skipped(["a"]) == {"a": ["m"]}
        (row,) = await tx.members([("a", "m")])
        assert row.done_at == START + 5


async def test_owed_are_the_done_ones_not_late_not_told_oldest_first(bench: Bench) -> None:
    """By done_at, then by name; doubt comes along; activities with nobody are left out."""
    rows = [
        MemberRow("a", "z", "done", False, START),
        MemberRow("a", "b", "done", False, START + 1),
        MemberRow("a", "a", "done", False, START + 1),
        MemberRow("a", "late", "done", True, START),
        MemberRow("a", "pending", "pending", False, None),
        MemberRow("a", "told", "done", False, START),
        MemberRow("a", "aside", "done", False, START),
        MemberRow("b", "x", "done", True, START),
    ]
    marks = [
        MemberMark("a", "told", CONFIRMED, False),
        MemberMark("a", "aside", SKIPPED, False),
        MemberMark("a", "a", OWED, True),
    ]
    async with bench.store.transaction() as tx:
        await tx.lock(["a", "b"])
        await tx.write(Writes(members=rows))
    async with bench.store.transaction() as tx:
        await tx.write(Writes(marks=marks))
    async with bench.store.transaction() as tx:
        owed = await tx.owed(["b", "a", "unknown"])
        assert owed == {"a": [Owed("z", False), Owed("a", True), Owed("b", False)]}
        assert await tx.skipped(["a", "b"]) == {"a": ["aside"]}
        assert await tx.owed([]) == {}
        assert await tx.skipped([]) == {}


async def test_what_is_parked_comes_back_byte_by_byte_in_order_of_arrival(bench: Bench) -> None:
    """Bytes, null values, broken header names and coordinates survive; the key order does not matter."""
    records = [
        Record("t", 3, 7, None, b"\x00\xff", ((("\udcff"), b"\x80"), ("h", None), ("h", b""))),
        Record("t", 3, 8, b"", None, ()),
        Record("t", 0, 1, b"k", "群".encode(), ()),
    ]
    ids = ["z", "a", "m"]
    rows = [ParkedRow("a", "/s", id_, START + 9 - n, records[n]) for n, id_ in enumerate(ids)]
    async with bench.store.transaction() as tx:
        await tx.lock(["a", "b"])
        await tx.write(Writes(park=rows[:2]))
    async with bench.store.transaction() as tx:
        await tx.write(Writes(park=[rows[2], ParkedRow("b", "/s", "other", START, records[0])]))
    async with bench.store.transaction() as tx:
        assert await parked(tx, "a") == rows
        assert len(await parked(tx, "b", "a")) == 4
        assert await parked(tx) == []
        waiting = await tx.waiting(["b", "a"])
        assert [each.size for each in waiting[:3]] == [len(encode_record(record)) for record in records]
        assert await tx.waiting(["b", "a"], limit=2) == waiting[:2]
        assert await tx.waiting(["b", "a"], before=START + 8) == waiting[1:]
        assert await tx.parked([waiting[2].key, waiting[0].key]) == [rows[0], rows[2]]
        await tx.write(Writes(unpark=[InboxKey("/s", "a"), InboxKey("/s", "unknown")]))
    async with bench.store.transaction() as tx:
        assert await parked(tx, "a") == [rows[0], rows[2]]


async def test_gates_are_those_asked_for(bench: Bench) -> None:
    """By name, as they were written; an app that was never seen has none; asking for none gives none."""
    closed = Gate("wx2", START + 5, START, "daily_limit", 45009, "reach max rid: x", generation=3, wait=9)
    async with bench.store.transaction() as tx:
        await tx.write(Writes(apps=["wx3", "wx1"], gates=[closed]))
    async with bench.store.transaction() as tx:
        await tx.write(Writes(apps=["wx2"]))  # seeing an app again does not open its gate
    for wait in (True, False):
        async with bench.store.transaction() as tx:
            assert await tx.lock_gates(["wx2", "wx9"], wait=wait) == {"wx2": closed}
            assert await tx.lock_gates([], wait=wait) == {}
            assert list(await tx.lock_gates(["wx3", "wx1", "wx2"], wait=wait)) == ["wx1", "wx2", "wx3"]
    assert await bench.store.all_gates() == [Gate("wx1"), closed, Gate("wx3")]


async def test_gates_open_by_name_and_reason(bench: Bench) -> None:
    """`open_gates` says which were closed; with a reason the others stay."""
    gates = [
        Gate("wx1", START + 5, START, "unknown_app"),
        Gate("wx2", START + 5, START, "daily_limit", 45009, "x", generation=7, wait=5),
    ]
    async with bench.store.transaction() as tx:
        await tx.write(Writes(apps=["wx3"], gates=gates))
    assert await bench.store.open_gates(["wx1", "wx2", "wx3"], "unknown_app") == ["wx1"]
    assert [gate.reason for gate in await bench.store.all_gates()] == ["", "daily_limit", ""]
    assert await bench.store.open_gates(["wx1", "wx2", "wx9"], None) == ["wx2"]
    assert await bench.store.all_gates() == [
        Gate("wx1", closed_at=START),
        Gate("wx2", closed_at=START, generation=7),  # so that old answers are still known as such
        Gate("wx3"),
    ]
    assert await bench.store.open_gates([], None) == []


async def test_attempts_come_newest_first(bench: Bench) -> None:
    """In the order in which they were written, bounded, of this activity only."""
    log = [Attempt("a", n, n, START + n, 5, 1, 2, "ok", None if n else 45009, "e", "rid") for n in range(5)]
    async with bench.store.transaction() as tx:
        await tx.write(Writes(attempts=[*log, Attempt("b", 1, 1, START, 1, 1, 0, "ok")]))
    assert await bench.store.attempts("a", 2) == [log[4], log[3]]
    assert await bench.store.attempts("a", 100) == log[::-1]


async def test_a_store_that_answers_says_nothing(bench: Bench) -> None:
    """`ping` on a migrated store that is there."""
    await bench.store.ping()


def test_a_shard_is_the_same_for_ever() -> None:
    """Rows carry their shard: another hash would reorder what is under way."""
    assert [shard_of(name) for name in ("966_NGiq", "a", "群", "")] == [8, 12, 4, 5]
    assert len({shard_of(f"a{n}") for n in range(200)}) == 16
