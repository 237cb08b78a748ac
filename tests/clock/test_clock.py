"""The clock on the dict store: timers, order, replicas, what waited too long, a store that is away."""

from __future__ import annotations

import asyncio

from contracts.events import Completed
from contracts.records import decode_record
from contracts.times import SECOND
from services.clock.clock import BATCH, LONGEST_WAIT
from services.store.ports import StoreUnavailable
from services.store.rows import DEAD, SHARDS
from services.transactions.ledger import read_ledger
from tests.clock.support import BASE, Hands, a_clock, changes, feed, opened
from tests.verification.dict_store.store import MemoryStore


async def test_near_then_end_each_at_its_time() -> None:
    """Nothing fires early; each timer fires once, and nudges the dispatcher after the commit."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    clock = a_clock(hands, store)
    await feed(store, hands.now, "a", opened(BASE + 3600 * SECOND))
    await clock.round()
    assert await changes(store) == [("open", "opened")]
    hands.now = BASE + 3000 * SECOND
    await clock.round()
    await clock.round()
    assert (await changes(store))[1:] == [("nearing", "notice")]
    hands.now = BASE + 3600 * SECOND
    await clock.round()
    await clock.round()
    assert (await changes(store))[1:] == [("nearing", "notice"), ("ended", "deadline")]
    assert len(hands.nudges) == 2
    assert hands.kicks == 2


async def test_a_clock_that_was_down_catches_up_in_order() -> None:
    """Near and end were both missed: both fire, in order, and one nudge asks for the last revision."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    await feed(store, hands.now, "a", opened(BASE + 3600 * SECOND))
    hands.now = BASE + 8000 * SECOND
    await a_clock(hands, store).round()
    assert (await changes(store))[1:] == [("nearing", "notice"), ("ended", "deadline")]
    assert hands.nudges == [{"a": 3}]


async def test_it_rests_until_the_next_timer_but_never_longer_than_a_tick() -> None:
    """A deadline sooner than the tick is met; an idle clock asks once a tick."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    clock = a_clock(hands, store, tick=0.5)
    assert await clock.round() == 0.5
    await feed(store, hands.now, "a", opened(BASE + 3600 * SECOND))
    hands.now = BASE + 3000 * SECOND - SECOND // 10
    assert abs(await clock.round() - 0.1) < 1e-6


async def test_two_clocks_fire_each_timer_once() -> None:
    """Any number of replicas: skip-locked rows are the other's."""
    hands = Hands()
    store = MemoryStore(hands.wall, pause=lambda: asyncio.sleep(0))
    for place in range(50):
        await feed(store, hands.now, f"a{place}", opened(BASE + 3600 * SECOND))
    hands.now = BASE + 3600 * SECOND
    await asyncio.gather(*(a_clock(hands, store).round() for _ in range(3)))
    ends = [change for change in await changes(store) if change == ("ended", "deadline")]
    assert len(ends) == 50
    assert (await read_ledger(store)).balanced


async def test_what_waited_too_long_becomes_a_dead_letter_that_may_be_replayed() -> None:
    """With its bytes, headers and key; replayed after the `opened`, the event counts."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    clock = a_clock(hands, store, parked_after=3600.0)
    await feed(store, hands.now, "a", Completed(("gp-1",)))
    hands.now += 3599 * SECOND
    await clock.round()
    assert await store.outbox(range(SHARDS), 10) == []
    hands.now += 10 * SECOND
    await clock.round()
    (row,) = await store.outbox(range(SHARDS), 10)
    assert row.topic == DEAD
    letter = decode_record(row.body)
    assert (letter.key, letter.value, letter.headers[0]) == (b"k", b"{}", ("h", b"v"))
    assert dict(letter.headers)["livecard-reason"] == b"parked_too_long"
    assert (await read_ledger(store)).events["dead"] == 1
    await feed(store, hands.now, "a", opened(hands.now + 3600 * SECOND))
    await feed(store, hands.now, "a", Completed(("gp-1",)))
    ledger = await read_ledger(store)
    assert ledger.balanced
    assert (ledger.events["dead"], ledger.events["refused"], ledger.events["taken"]) == (0, 1, 2)


async def test_timers_fire_between_the_steps_of_pruning() -> None:
    """After a long stop weeks of rows are caught up with, and no end is late for it."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    clock = a_clock(hands, store, keep_inbox=1000.0, keep_activities=1.0)
    await feed(store, hands.now, "late", opened(hands.now + 2001 * SECOND))
    for number in range(3 * BATCH):
        await feed(store, hands.now, f"early{number}", Completed(("gp-1",)))
    await clock.round()
    hands.now += 2000 * SECOND
    for number in range(3 * BATCH):
        await feed(store, hands.now - 2000 * SECOND, f"early{number}", opened(hands.now + 3600 * SECOND))
    assert await clock.round() == 0
    assert 0 < len(store.inbox) - 3 * BATCH <= 2 * BATCH + 1
    hands.now += SECOND
    assert await clock.round() == 0
    assert ("ended", "deadline") in await changes(store)
    while await clock.round() == 0:
        pass
    assert len(store.inbox) == 3 * BATCH


async def test_a_store_that_is_away_is_waited_for() -> None:
    """The loop goes on, says what it waits for, and recovers by itself."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    clock = a_clock(hands, store)
    asked, answered = asyncio.Event(), asyncio.Event()
    round_ = clock.round

    async def back() -> float:
        rest = await round_()
        answered.set()
        return rest

    async def away() -> float:
        asked.set()
        clock.round = back  # type: ignore[method-assign]  # away once, then back
        raise StoreUnavailable("gone for a moment")

    clock.round = away  # type: ignore[method-assign]  # see above
    task = asyncio.create_task(clock.run())
    await asked.wait()
    assert await clock.ready() == "gone for a moment"
    await answered.wait()
    assert await clock.ready() is None
    clock.stop()
    await task


async def test_a_long_outage_is_over_within_seconds_and_waiting_is_not_standing_still() -> None:
    """However often it has failed, it tries again soon; each try begins with a fresh mark."""
    hands = Hands()
    clock = a_clock(hands, MemoryStore(hands.wall))
    rests: list[float] = []

    async def away() -> float:
        assert clock.marks() == {"timers": hands.monotonic()}
        raise StoreUnavailable("gone for long")

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        hands.now += int(seconds * SECOND)
        if len(rests) == 60:
            clock.stop()

    clock.round = away  # type: ignore[method-assign]  # it fails each time
    clock._rest = rest  # type: ignore[method-assign]  # virtual time
    await clock.run()
    assert rests[0] <= 1.0
    assert LONGEST_WAIT / 2 <= max(rests) <= LONGEST_WAIT <= 5.0
