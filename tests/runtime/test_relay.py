"""The relay on the dict store and a bus in memory: order, leases, outages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from contracts.changes import decode_change
from contracts.records import Record
from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.ports import BusUnavailable
from services.runtime.clock import RealClock
from services.runtime.relay import Relay, SilentRelay
from services.runtime.settings import Settings
from services.store.ports import StoreUnavailable
from services.store.rows import CHANGES, PAGE_SIZE, OutboxRow, Writes, shard_of
from services.transactions.outgoing import dead_row
from tests.lifecycle.support import MemoryBus, TroubledStore, make_ingest, opened, record, until


class Hands:
    """A clock whose monotonic side is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> int:
        return 0


def relay(store: Any, bus: Any, owner: str = "r1", clock: Any = None, **options: Any) -> Relay:
    settings = {"relay_poll": 0.01, "relay_lease": 10.0, **options.pop("settings", {})}
    return Relay(
        store=store,
        bus=bus,
        clock=clock or RealClock(),
        chance=random.Random(1),
        settings=Settings(**settings),
        topics=Topics("p."),
        owner=owner,
        **options,
    )


async def fill(store: TroubledStore, rows: int, activities: int = 5) -> list[str]:
    """Rows with the numbers 0… as their ids, dealt out to activities."""
    out = []
    for n in range(rows):
        name = f"act-{n % activities}"
        out.append(OutboxRow(name, CHANGES, str(n), f'"{n}"', shard_of(name), 0))
    async with store.transaction() as tx:
        await tx.write(Writes(outbox=out))
    return [row.id for row in out]


async def serve(relay: Relay, until_: Callable[[], Any], what: str) -> None:
    running = asyncio.create_task(relay.run())
    try:
        await until(until_, what)
    finally:
        relay.stop()
        await asyncio.wait_for(running, PATIENCE)


async def left(store: TroubledStore) -> list[OutboxRow]:
    return await store.outbox(range(16), 100_000)


async def test_rows_are_published_in_order_and_forgotten_after_the_acknowledgement() -> None:
    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 50)
    await serve(relay(store, bus, page=7), lambda: len(bus.published) >= 50, "all are out")
    assert [message.value for _, message in bus.published] == [f'"{n}"'.encode() for n in range(50)]
    assert {topic for topic, _ in bus.published} == {"p.activity.changes"}
    assert bus.published[0][1].key == b"act-0"
    assert bus.published[0][1].headers == (("content-type", b"application/cloudevents+json"),)
    assert await left(store) == []


async def test_a_page_cut_by_its_size_is_followed_by_the_next_at_once() -> None:
    """Also at the end: whoever is asked to leave publishes what is there first."""
    store, bus = TroubledStore(), MemoryBus()
    rows = [OutboxRow("a", CHANGES, str(n), "x" * PAGE_SIZE, shard_of("a"), 0) for n in range(4)]
    async with store.transaction() as tx:
        await tx.write(Writes(outbox=rows))
    one = relay(store, bus, settings={"relay_poll": 9.0})
    one.stop()
    await asyncio.wait_for(one.run(), PATIENCE)
    assert len(bus.published) == 4
    assert await left(store) == []


async def test_what_the_lifecycle_leaves_comes_out_as_changes() -> None:
    store, bus = TroubledStore(), MemoryBus()
    await make_ingest(store, MemoryBus()).take([record(0, opened("a"))])
    await serve(relay(store, bus), lambda: bus.published, "the change is out")
    change = decode_change(bus.published[0][1].value or b"")
    assert change.activity_id == "a"


async def test_a_dead_row_leaves_with_its_own_key_bytes_and_headers() -> None:
    store, bus = TroubledStore(), MemoryBus()
    letter = Record("t", 1, 2, b"\xff", None, (("n\udcff", None), ("a", b"\x00")))
    async with store.transaction() as tx:
        await tx.write(Writes(outbox=[dead_row("a", letter, "parked_too_long", "late", 0)]))
    await serve(relay(store, bus), lambda: bus.published, "the letter is out")
    [(topic, message)] = bus.published
    assert topic == "p.activity.events.dead"
    assert (message.key, message.value, message.headers[:2]) == (b"\xff", None, letter.headers)
    assert dict(message.headers)["livecard-reason"] == b"parked_too_long"


async def test_a_broker_that_is_away_leaves_the_rows_and_delays_them() -> None:
    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 10)
    bus.failures = 2
    await serve(relay(store, bus), lambda: len(bus.published) >= 10, "all are out")
    assert bus.tries == 3
    assert await left(store) == []


async def test_a_topic_that_refuses_holds_up_no_other_and_repeats_nothing_of_it() -> None:
    """The dead letters' topic is missing, say: changes go out once each, the letters wait."""
    store, bus = TroubledStore(), MemoryBus()
    refused = ["p.activity.events.dead"]
    publish = bus.publish

    async def picky(topic: str, messages: Any) -> None:
        if topic in refused:
            raise BusUnavailable("no such topic")
        await publish(topic, messages)

    bus.publish = picky  # type: ignore[method-assign]  # one topic of two
    async with store.transaction() as tx:
        letter = dead_row("act-0", record(0, b"no"), "parked_too_long", "no opened came", 0)
        await tx.write(Writes(outbox=[letter]))
    await fill(store, 3)
    one = relay(store, bus)
    for _ in range(3):
        with pytest.raises(BusUnavailable):
            await one.round()
    assert [topic for topic, _ in bus.published] == ["p.activity.changes"] * 3
    refused.clear()
    assert await one.round() == 1
    assert [message.value for _, message in bus.published[3:]] == [b"no"]
    assert await left(store) == []


async def test_a_store_that_is_away_or_mad_does_not_end_it() -> None:
    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 3)
    errors = [StoreUnavailable("gone"), KeyError("a bug")]
    lease = store.lease_shards

    async def failing(owner: str, microseconds: int) -> list[int]:
        if errors:
            raise errors.pop(0)
        return await lease(owner, microseconds)

    store.lease_shards = failing  # type: ignore[method-assign, assignment]  # that is the fault
    await serve(relay(store, bus), lambda: len(bus.published) == 3, "all are out")


async def answer(one: Relay, *, ready: bool) -> str | None:
    """What it says of its readiness, once it is or is not ready."""
    async with asyncio.timeout(PATIENCE):
        while (await one.ready() is None) is not ready:  # noqa: ASYNC110 (the relay tells nobody)
            await asyncio.sleep(0.01)
    return await one.ready()


async def test_who_could_not_relay_for_want_of_the_store_is_not_ready_and_for_want_of_the_broker_is() -> None:
    """Output topics need not exist; the database must take writes."""
    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 1)
    one, lease = relay(store, bus), store.lease_shards

    async def failing(owner: str, microseconds: int) -> list[int]:
        raise StoreUnavailable("it takes no writes")

    store.lease_shards = failing  # type: ignore[method-assign, assignment]  # that is the fault
    serving = asyncio.create_task(one.run())
    assert await answer(one, ready=False) == "it takes no writes"
    bus.failures = 1
    store.lease_shards = lease  # type: ignore[method-assign]  # it is back
    await until(lambda: bus.tries == 1, "the broker was asked")
    assert await answer(one, ready=True) is None
    one.stop()
    await serving


async def test_a_lease_that_ran_out_while_reading_publishes_nothing() -> None:
    """The lease counts by the monotonic clock from before it was asked for."""
    store, bus, hands = TroubledStore(), MemoryBus(), Hands()
    await fill(store, 3)
    one = relay(store, bus, clock=hands)
    read = store.outbox

    async def slow(shards: Any, limit: int) -> list[OutboxRow]:
        rows = await read(shards, limit)
        hands.at += 10.0
        return rows

    store.outbox = slow  # type: ignore[method-assign]  # as a process that is paused in between
    assert await one.round() == 0
    assert bus.published == []
    store.outbox = read  # type: ignore[method-assign]  # it is well again
    assert await one.round() == 3


async def test_the_lease_is_renewed_when_a_third_of_it_is_gone() -> None:
    store, hands = TroubledStore(), Hands()
    asked = []
    lease = store.lease_shards

    async def counted(owner: str, microseconds: int) -> list[int]:
        asked.append((hands.at, microseconds))
        return await lease(owner, microseconds)

    store.lease_shards = counted  # type: ignore[method-assign, assignment]  # to see it
    one = relay(store, MemoryBus(), clock=hands)
    for hands.at in (100.0, 102.0, 103.4, 106.0, 107.0):
        await one.round()
    assert asked == [(100.0, 10_000_000), (103.4, 10_000_000), (107.0, 10_000_000)]


async def test_a_kick_is_answered_at_once() -> None:
    store, bus = TroubledStore(), MemoryBus()
    one = relay(store, bus, settings={"relay_poll": 3600.0})
    running = asyncio.create_task(one.run())
    await until(lambda: one._shards, "it has looked once")
    await fill(store, 3)
    one.kick()
    await until(lambda: len(bus.published) == 3, "the kick was heard")
    one.stop()
    await running


async def test_stopping_publishes_what_is_there_and_gives_the_shards_back() -> None:
    store, bus = TroubledStore(), MemoryBus()
    one = relay(store, bus)
    await one.round()
    await fill(store, 20)
    one.stop()
    await one.run()
    assert len(bus.published) == 20
    assert sorted(await store.lease_shards("another", 1_000_000)) == list(range(16))


@pytest.mark.parametrize("seed", range(4))
async def test_first_occurrences_are_in_order_whichever_relay_relays(seed: int) -> None:
    """Two relays share the shards; one breaks off between publishing and forgetting."""
    rng = random.Random(seed)
    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 400, activities=30)
    first, second = (
        relay(store, bus, f"r{n}", page=rng.randint(3, 40), settings={"relay_lease": 1.1}) for n in (1, 2)
    )
    one, two = asyncio.create_task(first.run()), asyncio.create_task(second.run())
    at = rng.randint(1, 300)
    bus.before_publish = lambda: len(bus.published) > at and one.cancel()
    await until(lambda: len({message.value for _, message in bus.published}) == 400, "all are out")
    second.stop()
    await two
    seen: dict[bytes | None, list[int]] = {}
    for _, message in bus.published:
        number = int((message.value or b"").strip(b'"'))
        order = seen.setdefault(message.key, [])
        if number not in order:
            order.append(number)
    assert all(order == sorted(order) for order in seen.values())
    assert await left(store) == []


async def test_telemetry_is_told_by_role_and_of_failures() -> None:
    told: list[Any] = []

    class Told(SilentRelay):
        def published(self, topic: str, rows: int) -> None:
            told.append((topic, rows))

        def relay_failed(self) -> None:
            told.append("failed")

    store, bus = TroubledStore(), MemoryBus()
    await fill(store, 4)
    bus.failures = 1
    await serve(relay(store, bus, metrics=Told()), lambda: len(told) >= 2, "told")
    assert told == ["failed", ("changes", 4)]
