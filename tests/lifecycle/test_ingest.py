"""What one batch comes to, whatever the store and the broker do meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from services.lifecycle import dividing, ingest
from services.lifecycle.ingest import SilentIngest
from services.store.rows import ParkedCount
from services.transactions import apply
from services.transactions.ledger import read_ledger
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


class Told(SilentIngest):
    """What telemetry was told."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def batch_taken(self, records: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen["records"] += records

    def outcomes(self, outcomes: Mapping[tuple[str, str], int]) -> None:
        for (kind, outcome), count in outcomes.items():
            self.seen[f"{kind}:{outcome}"] += count

    def events_repeated(self, count: int) -> None:
        self.seen["repeats"] += count

    def dead_lettered(self, reason: str, count: int) -> None:
        self.seen[f"dead:{reason}"] += count

    def lag(self, records: Mapping[int, int]) -> None:
        """Not asked for here."""

    def waited(self, what: str) -> None:
        self.seen[f"waited:{what}"] += 1


async def test_a_batch_is_taken_in_and_nudges_name_what_changed() -> None:
    store, bus, told = TroubledStore(), MemoryBus(), Told()
    ingest = make_ingest(store, bus, metrics=told)
    batch = [record(0, opened("a")), record(1, completed("c1", "a")), record(2, completed("c1", "a"))]
    await ingest.take(batch)
    assert bus.nudged == {"a": 2}
    assert told.seen == Counter(
        {
            "records": 3,
            "repeats": 1,
            "livecard.activity.opened:applied": 1,
            "livecard.participant.completed:applied": 1,
        }
    )
    assert (await read_ledger(store)).balanced


async def test_a_dead_letter_has_exactly_the_headers_of_the_contract() -> None:
    """Original key, bytes and headers; older livecard-* dropped; ours last, in order, UTF-8."""
    store, bus = TroubledStore(), MemoryBus()
    bad = record(
        41,
        b'{"specversion": "1.0"',
        key=b"\xffkey",
        headers=[
            ("content-type", b"application/cloudevents+json"),
            ("livecard-reason", b"old"),
            ("null", None),
            ("broken", b"\xff\xfe"),
            ("na\udcffme", b"x"),
        ],
    )
    await make_ingest(store, bus).take([bad])
    [(topic, message)] = bus.published
    assert topic == "activity.events.dead"
    assert (message.key, message.value) == (bad.key, bad.value)
    own, ours = message.headers[:4], dict(message.headers[4:])
    assert own == (
        ("content-type", b"application/cloudevents+json"),
        ("null", None),
        ("broken", b"\xff\xfe"),
        ("na\udcffme", b"x"),
    )
    assert list(ours) == [
        "livecard-reason",
        "livecard-error",
        "livecard-topic",
        "livecard-partition",
        "livecard-offset",
        "livecard-time",
    ]
    assert ours["livecard-reason"] == b"malformed"
    assert ours["livecard-topic"] == b"activity.events"
    assert (ours["livecard-partition"], ours["livecard-offset"]) == (b"3", b"41")
    assert ours["livecard-error"]
    assert ours["livecard-time"].startswith(b"20")  # type: ignore[union-attr]  # it is set


async def test_a_store_that_is_away_is_waited_for_and_nothing_is_dead_lettered() -> None:
    store, bus, told = TroubledStore(), MemoryBus(), Told()
    store.down = True
    ingest = make_ingest(store, bus, metrics=told)
    taking = asyncio.create_task(ingest.take([record(0, opened("a")), record(1, b"no")]))
    await until(lambda: store.entered >= 3, "it tries again")
    assert "the store is down" in str(ingest.waiting)
    assert bus.published == []
    store.down = False
    await taking
    assert str(ingest.waiting) == "None"
    assert told.seen["waited:store"] >= 3
    assert "open-a" in store.ids
    assert len(bus.published) == 1


async def test_an_attempt_that_hangs_is_given_up_and_made_again() -> None:
    store = TroubledStore()
    store.hang = 1
    await make_ingest(store, MemoryBus(), attempt_deadline=0.05).take([record(0, opened("a"))])
    assert store.entered == 2
    assert "open-a" in store.ids


async def test_a_bug_in_the_store_is_an_outage_and_buries_nothing() -> None:
    store, bus = TroubledStore(), MemoryBus()
    store.broken = 2
    await make_ingest(store, bus).take([record(0, opened("a"))])
    assert "open-a" in store.ids
    assert bus.published == []


@pytest.mark.parametrize("seed", range(5))
async def test_refused_data_is_bisected_down_to_the_event_that_is_to_blame(seed: int) -> None:
    """Everything else counts, in order; the ledger balances; a replay of the poison may still count."""
    rng = random.Random(seed)
    store, bus = TroubledStore(), MemoryBus()
    bad = set(rng.sample(range(1, 40), 3))
    store.poison = lambda key: key.id in {f"c{n}" for n in bad}
    batch = [record(0, opened("a"))] + [record(n, completed(f"c{n}", "a")) for n in range(1, 40)]
    await make_ingest(store, bus).take(batch)
    headers = [dict(message.headers) for _, message in bus.published]
    assert [int(each["livecard-offset"] or 0) for each in headers] == sorted(bad)
    assert {each["livecard-reason"] for each in headers} == {b"unprocessable"}
    assert all(b"invalid byte sequence" in (each["livecard-error"] or b"") for each in headers)
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["dead"]) == (37, 3)
    store.poison = lambda _key: False
    await make_ingest(store, bus).take([batch[min(bad)]])
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["dead"]) == (38, 2)


async def test_a_batch_that_names_very_many_members_comes_in_by_parts_in_order() -> None:
    """PostgreSQL would cut off a transaction that lets it wait while a million members are folded."""
    store, bus = TroubledStore(), MemoryBus()
    many = [[f"m-{n}-{each}" for each in range(500)] for n in range(90)]
    listed = [name for names in many for name in names]
    batch = [
        record(0, opened("a", choose="listed", participants=listed, close_when_complete=True)),
        *(record(1 + n, completed(f"c{n}", "a", *names)) for n, names in enumerate(many)),
        record(91, completed("last", "a", many[0][0])),
    ]
    await make_ingest(store, bus).take(batch)
    assert store.batches == [1, 40, 40, 11]
    seen = await store.show("a")
    assert seen is not None
    activity = seen.activity
    assert (activity.state, activity.done) == ("ended", len(listed))
    assert bus.nudged == {"a": activity.revision}
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["duplicate"]) == (91, 1)


async def test_a_batch_that_is_too_much_for_one_transaction_comes_in_by_halves_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever makes it so: otherwise its partition would stand still for good."""
    monkeypatch.setattr(ingest, "LONGEST_WAIT", 0.001)
    store, bus = TroubledStore(), MemoryBus()
    store.most = 5
    batch = [record(0, opened("a"))] + [record(n, completed(f"c{n}", "a")) for n in range(1, 39)]
    batch.append(record(39, event("activity.closed", "closed", "a")))
    await make_ingest(store, bus).take(batch)
    assert store.batches == [5] * 8
    assert bus.published == []
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert ledger.events["applied"] == 40


async def test_openings_for_which_too_much_waits_go_apart_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting: nothing failed."""
    monkeypatch.setattr(apply, "MOST_PARKED", ParkedCount(3, 1 << 20))
    store, told = TroubledStore(), Told()
    names = ["a", "b", "c", "d"]
    taking = make_ingest(store, MemoryBus(), metrics=told)
    await taking.take([record(n, completed(f"c{n}", names[n // 2])) for n in range(8)])
    await taking.take([record(8 + n, opened(name)) for n, name in enumerate(names)])
    assert store.batches == [8, 4, 2, 1, 1, 2, 1, 1]
    assert told.seen["waited:store"] == 0
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["applied"], ledger.events["parked"]) == (12, 0)


async def test_what_failed_three_times_stays_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadlock, a restart of the database: the fourth attempt is the whole batch's."""
    monkeypatch.setattr(ingest, "LONGEST_WAIT", 0.001)
    store = TroubledStore()
    store.broken = 3
    await make_ingest(store, MemoryBus()).take([record(n, completed(f"c{n}", "a")) for n in range(8)])
    assert store.batches == [8]


async def test_an_outage_leaves_few_parts_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it was: each is half of the one after it."""
    monkeypatch.setattr(ingest, "LONGEST_WAIT", 0.001)
    store = TroubledStore()
    store.down = True
    batch = [record(0, opened("a"))] + [record(n, completed(f"c{n}", "a")) for n in range(1, 64)]
    taking = asyncio.create_task(make_ingest(store, MemoryBus()).take(batch))
    await until(lambda: store.entered >= 40, "it goes by single events")
    store.down = False
    await taking
    assert store.batches == [1, 1, 2, 4, 8, 16, 32]


async def test_dead_letters_wait_for_the_broker_and_are_never_skipped() -> None:
    store, bus, told = TroubledStore(), MemoryBus(), Told()
    bus.failures = 3
    await make_ingest(store, bus, metrics=told).take([record(0, b"no"), record(1, b"nor this")])
    assert bus.tries == 4
    assert [message.value for _, message in bus.published] == [b"no", b"nor this"]
    assert told.seen["waited:broker"] == 3
    assert told.seen["dead:malformed"] == 2


async def test_what_is_waited_for_is_over_once_the_letters_are_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though more of the batch is to come: nothing is said to wait that goes on."""
    monkeypatch.setattr(dividing, "MOST_MEMBERS", 1)
    store, bus = TroubledStore(), MemoryBus()
    taking, seen = make_ingest(store, bus), list[str | None]()
    bus.failures = 1
    really = apply.apply

    async def watched(*args: Any) -> Any:
        seen.append(taking.waiting)
        return await really(*args)

    monkeypatch.setattr(ingest, "apply", watched)
    await taking.take(
        [record(0, b"no event"), record(1, completed("c1", "a")), record(2, completed("c2", "a"))]
    )
    assert bus.tries == 2
    assert seen == [None, None]


async def test_nudges_do_not_wait_for_dead_letters() -> None:
    """The card need not wait for a broker that takes no letters."""
    store, bus = TroubledStore(), MemoryBus()
    bus.failures = 1_000_000
    batch = [record(0, opened("a")), record(1, completed("c1", "a")), record(2, b"no")]
    taking = asyncio.create_task(make_ingest(store, bus).take(batch))
    await until(lambda: bus.tries >= 1, "it tries")
    assert bus.nudged == {"a": 2}
    bus.failures = 0
    await taking


async def test_a_batch_dropped_before_its_dead_letters_were_acknowledged_delivers_them_next_time() -> None:
    store, bus = TroubledStore(), MemoryBus()
    bus.failures = 1_000_000
    ingest = make_ingest(store, bus)
    batch = [record(0, opened("a")), record(1, b"no")]
    taking = asyncio.create_task(ingest.take(batch))
    await until(lambda: bus.tries >= 1, "it tries")
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ingest.waiting is None
    bus.failures = 0
    await ingest.take(batch)
    assert [message.value for _, message in bus.published] == [b"no"]
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["taken"], ledger.events["repeats"]) == (2, 2)


async def test_an_unknown_type_is_dead_and_an_early_event_is_parked() -> None:
    store, bus = TroubledStore(), MemoryBus()
    await make_ingest(store, bus).take(
        [record(0, event("card.danced", "x", "a")), record(1, completed("c1", "a"))]
    )
    assert dict(bus.published[0][1].headers)["livecard-reason"] == b"unknown_type"
    assert (await read_ledger(store)).events["parked"] == 1
