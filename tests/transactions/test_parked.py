"""However much waits for an opening, and however large it is: read in pages, in order, none left behind."""

from __future__ import annotations

import msgspec
import pytest

from contracts.records import Record, decode_record, encode_record
from services.store.rows import (
    ANY,
    PARKED_PAGE,
    PARKED_SIZE,
    InboxKey,
    ParkedCount,
    ParkedRow,
    Waiting,
    pages,
)
from services.store.sql_tx import SqlTx
from services.transactions.apply import TooMuch
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.bury_parked import bury_parked
from services.transactions.ledger import read_ledger
from tests.store.benches import HOUR
from tests.store.support import Scene
from tests.verification.dict_store.store import MemoryTx


def test_pages_are_bounded_in_rows_and_bytes() -> None:
    """Nothing is left out or moved; what is larger than a page is one of its own."""
    sizes = [1] * 1_200 + [PARKED_SIZE // 2] * 5 + [PARKED_SIZE * 3] + [1] * 3
    waiting = [Waiting(InboxKey("/s", str(place)), size) for place, size in enumerate(sizes)]
    found = list(pages(waiting))
    assert [key for page in found for key in page] == [each.key for each in waiting]
    of = {each.key: each.size for each in waiting}
    for page in found:
        assert len(page) == 1 or (len(page) <= PARKED_PAGE and sum(of[key] for key in page) <= PARKED_SIZE)
    assert list(pages([])) == []


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[ParkedRow]]:
    """What was read together; as much may wait as likes, since earlier releases let it."""
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", ParkedCount(ANY, ANY))
    told: list[list[ParkedRow]] = []
    for kind in (SqlTx, MemoryTx):
        original = kind.parked

        async def parked(tx, keys, original=original):
            told.append(await original(tx, keys))
            return told[-1]

        monkeypatch.setattr(kind, "parked", parked)
    return told


def large(scene: Scene, arrival: Arrival) -> Arrival:
    """The same event with half a megabyte that nobody asked for."""
    value = msgspec.json.decode(arrival.record.value or b"")
    return read_arrival(scene.record(msgspec.json.encode({**value, "padding": "x" * 500_000})))


def bounded(read: list[list[ParkedRow]]) -> bool:
    """Whether no page was larger than pages may be."""
    sizes = [sum(len(encode_record(row.record)) for row in page) for page in read]
    return all(len(page) <= PARKED_PAGE for page in read) and max(sizes) <= PARKED_SIZE


async def test_an_opening_applies_all_that_waited_page_by_page(
    scene: Scene, read: list[list[ParkedRow]]
) -> None:
    """In order of arrival also from page to page: who came after the end is late for the card."""
    before = [scene.completed("a", f"m{number}") for number in range(PARKED_PAGE + 50)]
    heavy = [large(scene, scene.completed("a", f"h{number}")) for number in range(9)]
    end = scene.event("activity.closed", "a")
    after = [scene.completed("a", f"n{number}") for number in range(PARKED_PAGE)]
    await scene.feed(*before, *heavy)
    await scene.feed(end, *after)
    await scene.open("a")
    assert len(read) > 4
    assert bounded(read)
    shown = await scene.store.show("a")
    assert shown is not None
    assert shown.members.owed == len(before) + len(heavy)
    assert shown.members.late == len(after)
    assert shown.parked.events == 0
    ledger = await read_ledger(scene.store)
    assert ledger.balanced
    assert ledger.events["applied"] == len(before) + len(heavy) + 2
    assert ledger.events["late"] == len(after)


async def test_what_waited_too_long_is_buried_step_by_step(scene: Scene, read: list[list[ParkedRow]]) -> None:
    """A step takes the oldest, and commits; the letters keep their order."""
    early = [large(scene, scene.completed("a", f"m{number}")) for number in range(11)]
    await scene.feed(*early)
    await scene.bench.advance(3_601)
    await scene.complete("a", "young")
    steps = []
    while buried := await bury_parked(scene.store, HOUR, 5):
        steps.append(buried)
    assert sum(steps) == 11
    assert len(steps) == len(read) > 3
    assert bounded(read)
    letters: list[Record] = [decode_record(row.body) for row in await scene.outbox()]
    assert [letter.offset for letter in letters] == [each.record.offset for each in early]
    ledger = await read_ledger(scene.store)
    assert ledger.balanced
    assert (ledger.events["dead"], ledger.events["parked"]) == (11, 1)


async def test_no_more_waits_for_an_opening_than_it_can_apply(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound an event is a dead letter that says what to do; a replay of it counts then."""
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", ParkedCount(3, 1 << 20))
    first, second, third, fourth, fifth = (scene.completed("a", f"m{number}") for number in range(5))
    assert not (await scene.feed(first, second)).dead
    told = await scene.feed(third, fourth, scene.completed("b", "m"))
    assert [(each.record, each.reason) for each in told.dead] == [(fourth.record, "unprocessable")]
    assert "livecard replay" in told.dead[0].error
    assert [each.record for each in (await scene.feed(fifth)).dead] == [fifth.record]
    ledger = await read_ledger(scene.store)
    assert (ledger.events["parked"], ledger.events["dead"]) == (4, 2)
    assert not (await scene.feed(scene.opened("a"), fourth)).dead
    assert not (await scene.feed(fifth)).dead
    shown = await scene.store.show("a")
    assert shown is not None
    assert shown.members.owed == 5
    ledger = await read_ledger(scene.store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["parked"], ledger.events["dead"]) == (6, 1, 0)


@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_openings_for_which_more_waits_than_for_one_do_not_go_together(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Nothing has happened then; each goes by itself, whatever waits for it."""
    early = [scene.completed(name, "m") for name in ("a", "a", "b", "b")]
    await scene.feed(*early)
    size = sum(len(encode_record(each.record)) for each in early)
    most = ParkedCount(3, ANY) if bound == "events" else ParkedCount(ANY, size - 1)
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", most)
    opened = scene.opened("a"), scene.opened("b")
    with pytest.raises(TooMuch, match=f"4 events of {size} bytes wait for 2 openings"):
        await scene.feed(*opened)
    assert (await read_ledger(scene.store)).events["parked"] == 4
    for each in opened:
        await scene.feed(each)
    ledger = await read_ledger(scene.store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["duplicate"], ledger.events["parked"]) == (4, 2, 0)


async def test_the_bound_is_for_what_is_ahead_of_its_opening_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activity that is open takes as many as come."""
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", ParkedCount(3, 1 << 20))
    await scene.feed(scene.opened("a"))
    assert not (await scene.feed(*(scene.completed("a", f"m{number}") for number in range(9)))).dead


async def test_what_waits_for_an_opening_is_bounded_in_bytes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it came in one batch or before; an opening that is refused makes room again."""
    heavy = [large(scene, scene.completed("a", f"h{number}")) for number in range(4)]
    sizes = [len(encode_record(each.record)) for each in heavy]
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", ParkedCount(1_000, sum(sizes[:3]) + 100))
    await scene.feed(heavy[0])
    assert [each.record for each in (await scene.feed(*heavy[1:])).dead] == [heavy[3].record]
    gone = scene.opened("a", life=-1)
    after = [large(scene, scene.completed("a", f"n{number}")) for number in range(3)]
    assert not (await scene.feed(gone, *after)).dead
    ledger = await read_ledger(scene.store)
    assert ledger.balanced
    assert (ledger.events["refused"], ledger.events["parked"], ledger.events["dead"]) == (4, 3, 1)
