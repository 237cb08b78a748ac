"""A large batch goes in several transactions side by side, and comes to what one would come to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from contracts.events import Event
from contracts.records import Record
from services.lifecycle import ingest
from services.lifecycle.dividing import SIDE_BY_SIDE, WORTH_ONE, side_by_side
from services.store.ports import Store, StoreUnavailable
from services.transactions.apply import Applied, apply
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.ledger import read_ledger
from statemachine.model import Rules
from tests.lifecycle.support import (
    MemoryBus,
    TroubledStore,
    completed,
    event,
    make_ingest,
    opened,
    record,
    until,
)
from tests.store.benches import Bench
from tests.store.conftest import bench, migrated_postgres, migrated_sqlite, postgres

__all__ = ["bench", "migrated_postgres", "migrated_sqlite", "postgres"]

NAMES = [f"a{number:02}" for number in range(40)]


def large(size: int, *, shared: bool = False) -> list[Record]:
    """Openings, then completions, closes, repetitions and things that are no events, at random; `shared`:
    also keys that two activities share, or an event and what is none."""
    chance = random.Random(1)
    values: list[bytes] = [opened(name, close_when_complete=False) for name in NAMES]
    while len(values) < size:
        name, number = chance.choice(NAMES), len(values)
        kind = chance.random()
        if kind < 0.8:
            values.append(completed(f"c{number}", name, f"m-{chance.randrange(30)}"))
        elif kind < 0.9:
            values.append(chance.choice(values))
        elif kind < 0.93:
            values.append(event("activity.closed", f"e{number}", name))
        elif kind < 0.95 and shared:
            values.append(completed(f"c{chance.randrange(number)}", name, "m-1"))
        elif kind < 0.96 and shared:
            values.append(event("heard.of.by.nobody", f"c{chance.randrange(2 * number)}", name))
        else:
            values.append(b"no event")
    return [record(offset, value) for offset, value in enumerate(values)]


async def outcome(store: Store, bus: MemoryBus) -> tuple[object, ...]:
    """What can be seen of a batch: activities, members, the ledger and the dead letters."""
    activities = []
    for name in NAMES:
        seen = await store.show(name)
        assert seen is not None
        each = seen.activity
        activities.append((name, each.state, each.done, each.revision, seen.card.settled))
    ledger = await read_ledger(store)
    assert ledger.balanced
    letters = sorted(dict(message.headers)["livecard-offset"] or b"" for _, message in bus.published)
    return activities, dict(ledger.events), dict(ledger.revisions), letters, bus.nudged


def test_a_small_batch_stays_together() -> None:
    arrivals = [read_arrival(each) for each in large(2 * WORTH_ONE - 1)]
    assert side_by_side(arrivals) == [arrivals]


def test_an_activity_and_a_key_are_in_one_part_in_order() -> None:
    arrivals = [read_arrival(each) for each in large(2_000)]
    parts = side_by_side(arrivals)
    assert len(parts) == SIDE_BY_SIDE
    together = [read_arrival(each) for each in large(2_000, shared=True)]
    assert side_by_side(together) == [together]
    assert sorted(each.record.offset for part in parts for each in part) == list(range(2_000))
    for part in parts:
        assert all(one.record.offset < other.record.offset for one, other in pairwise(part))
    first: dict[object, int] = {}
    for number, part in enumerate(parts):
        for each in part:
            assert first.setdefault(each.key, number) == number


def _first_of_each_key(records: Sequence[Record]) -> list[Record]:
    seen, first = set(), []
    for each in records:
        if (key := read_arrival(each).key) not in seen:
            seen.add(key)
            first.append(each)
    return first


@pytest.mark.parametrize("shared", [False, True], ids=["keys of one's own", "shared keys"])
async def test_it_comes_to_what_one_event_after_the_other_comes_to(
    bench: Bench, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each engine, where as many transactions as may be are under way at once; that counts repetitions
    too."""
    parts, under_way, most = set[int](), 0, 0

    async def counted(store: Store, arrivals: Sequence[Arrival], rules: Rules) -> Applied:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        parts.add(arrivals[0].record.offset)
        try:
            return await apply(store, arrivals, rules)
        finally:
            under_way -= 1

    records = large(1_500, shared=shared)
    bus, one_by_one, alone = MemoryBus(), MemoryBus(), TroubledStore()
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "apply", counted)
        await make_ingest(bench.store, bus).take(records)
    assert len(parts) == (1 if shared else SIDE_BY_SIDE)
    assert most == (len(parts) if bench.kind != "memory" else 1)  # where nothing waits, each goes by itself
    taking = make_ingest(alone, one_by_one)
    for each in records:
        await taking.take([each])
    assert await outcome(bench.store, bus) == await outcome(alone, one_by_one)


async def test_an_event_that_one_part_is_refused_for_undoes_no_other() -> None:
    records = _first_of_each_key(large(1_500))
    store, bus = TroubledStore(), MemoryBus()
    blamed = read_arrival(records[-1]).key
    store.poison = lambda key: key == blamed
    await make_ingest(store, bus).take(records)
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert sum(store.batches) >= len(records) - 1
    reasons = [dict(message.headers)["livecard-reason"] for _, message in bus.published]
    assert reasons.count(b"unprocessable") == 1


async def test_what_one_part_waits_for_is_told_though_the_others_are_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = _first_of_each_key(large(1_500))
    store, bus, away = TroubledStore(), MemoryBus(), ["a05"]

    async def apart(store: Store, arrivals: Sequence[Arrival], rules: Rules) -> Applied:
        names = {each.content.activity_id for each in arrivals if isinstance(each.content, Event)}
        if names & {*away}:
            raise StoreUnavailable("away for one part")
        return await apply(store, arrivals, rules)

    monkeypatch.setattr(ingest, "apply", apart)
    monkeypatch.setattr(ingest, "PATIENCE", 1_000)
    taking = make_ingest(store, bus)
    work = asyncio.create_task(taking.take(records))
    await until(lambda: len(store.batches) == SIDE_BY_SIDE - 1, "the other parts are in")
    await until(lambda: "away for one part" in (taking.waiting or ""), "it says what it waits for")
    away.clear()
    await work
    assert taking.waiting is None
    assert len(store.inbox) == len(records)


def test_activities_that_continue_each_other_stay_together() -> None:
    """Whichever is opened first in the batch, and in a circle too."""
    pairs = [("a00", "a01"), ("a02", "a01"), ("a03", "a02"), ("a09", "a08"), ("a08", "a09")]
    values = [opened(later, continues=earlier) for later, earlier in pairs]
    values += [completed(f"c{number}", NAMES[number % 10], "m") for number in range(WORTH_ONE * SIDE_BY_SIDE)]
    parts = side_by_side([read_arrival(record(offset, value)) for offset, value in enumerate(values)])
    assert len(parts) > 1
    where = {
        each.content.activity_id: place
        for place, part in enumerate(parts)
        for each in part
        if isinstance(each.content, Event)
    }
    assert len({where[name] for name in ("a00", "a01", "a02", "a03")}) == 1
    assert where["a08"] == where["a09"]
