"""Whatever a record was, its dead letter can be written: what does not fit is cut, and told."""

from __future__ import annotations

import random

import pytest

from contracts.records import Record, dead_headers
from contracts.topics import MAX_EVENT_BYTES, Topics
from services.kafka.oversized import COMPRESS_ABOVE, LONGEST_KEY, fitted
from services.kafka.ports import Message
from services.store.rows import Writes
from services.transactions.outgoing import dead_row
from tests.kafka.reading import bus_of, read_all, settings_for
from tests.lifecycle.support import MemoryBus, TroubledStore, make_ingest, record
from tests.runtime.test_relay import relay

NOISE = random.Random(1).randbytes(60_000)
REPEATED = NOISE * 100
"""Six megabytes that zstd squeezes below the input's limit, and gzip does not squeeze at all."""


def letter(key: bytes | None, value: bytes | None, *headers: tuple[str, bytes | None]) -> Message:
    record = Record("activity.events", 0, 7, key, value, headers)
    return Message(key, value, tuple(dead_headers(record, "malformed", "no JSON", 0)))


@pytest.mark.parametrize(
    "message",
    [
        letter(b"k", b"short", ("a", b"b")),
        letter(b"k", NOISE * 30, ("a", b"b")),
        letter(None, None),
        letter(b"k", bytes(20_000_000)),
        letter(bytes(20_000_000), b"v", ("n\udcff", bytes(5_000_000))),
    ],
    ids=["short", "as large as the input allows", "empty", "compressible", "compressible everywhere"],
)
def test_what_fits_or_can_be_compressed_stays_as_it_is(message: Message) -> None:
    assert fitted(message) is message


@pytest.mark.parametrize(
    ("message", "value", "headers", "key"),
    [
        (letter(b"k", REPEATED, ("a", b"b")), REPEATED[:MAX_EVENT_BYTES], 1, b"k"),
        (letter(b"k", b"v", ("a", REPEATED), ("b", b"")), b"v", 0, b"k"),
        (letter(REPEATED, b"v"), b"v", 0, None),
        (letter(REPEATED, REPEATED, ("a", REPEATED)), REPEATED[:MAX_EVENT_BYTES], 0, None),
    ],
    ids=["value", "headers", "key", "everything"],
)
def test_what_is_too_large_even_so_is_cut_and_says_so(
    message: Message, value: bytes, headers: int, key: bytes | None
) -> None:
    cut = fitted(message)
    assert (cut.value, cut.key) == (value, key)
    assert len(cut.headers) == headers + 6
    told = dict(cut.headers)
    assert (told["livecard-error"] or b"").startswith(b"no JSON (too large to be kept: ")
    assert told["livecard-reason"] == b"malformed"
    assert fitted(cut) is cut
    assert len(cut.value or b"") + len(cut.key or b"") < COMPRESS_ABOVE + LONGEST_KEY


async def test_the_broker_takes_every_dead_letter(kafka: str, topic_prefix: str) -> None:
    """One that it refuses would hold up its partition, or the whole outbox, for ever."""
    settings = await settings_for(kafka, topic_prefix)
    topic = Topics(topic_prefix).dead
    giants = [
        letter(b"k", REPEATED, ("a", b"b")),
        letter(b"k", NOISE, ("a", REPEATED)),
        letter(REPEATED, REPEATED, ("a", REPEATED)),
        letter(b"k", bytes(1_000_000), ("a", bytes(20_000_000))),
    ]
    async with bus_of(settings) as bus:
        await bus.publish(topic, [fitted(each) for each in giants])
    assert len(await read_all(kafka, topic, len(giants))) == len(giants)


async def test_the_lifecycle_fits_the_dead_letters_of_a_batch() -> None:
    bus = MemoryBus()
    ingest = make_ingest(TroubledStore(), bus)
    await ingest.take([record(0, REPEATED)])
    ((_, message),) = bus.published
    assert message.value == REPEATED[:MAX_EVENT_BYTES]


async def test_the_relay_fits_the_dead_letters_of_the_outbox() -> None:
    bus, store = MemoryBus(), TroubledStore()
    async with store.transaction() as tx:
        row = dead_row("a", record(0, REPEATED), "parked_too_long", "no opened came", 0)
        await tx.write(Writes(outbox=[row]))
    await relay(store, bus).round()
    ((_, message),) = bus.published
    assert message.value == REPEATED[:MAX_EVENT_BYTES]
