"""Whatever a record was, its dead letter can be written: what does not fit is cut, and told."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from jsonschema import Draft202012Validator

from contracts.records import Record, dead_headers
from contracts.schemas import dead_letter_headers
from contracts.topics import Topics
from services.cli.replay import _letter, _letters
from services.kafka.oversized import COMPRESS_ABOVE, fitted, publish_letters, size, smaller
from services.kafka.ports import Message
from services.runtime.settings import Settings
from services.store.rows import Writes
from services.transactions.outgoing import dead_row
from tests.kafka.reading import bus_of, make_topics, read_all, settings_for
from tests.lifecycle.support import MemoryBus, TroubledStore, make_ingest, opened, record, until
from tests.lifecycle.test_consumer_kafka import consuming
from tests.runtime.test_relay import relay

NOISE = random.Random(1).randbytes(60_000)
REPEATED = NOISE * 100
"""Six megabytes that zstd squeezes below the input's limit, and gzip does not squeeze at all."""

AT = 1_795_248_000_000_000

LARGEST = random.Random(1).randbytes(1_048_400)
"""As large as the input takes; with our headers it is too large for a topic with the same limit."""


def letter(key: bytes | None, value: bytes | None, *headers: tuple[str, bytes | None]) -> Message:
    record = Record("activity.events", 0, 7, key, value, headers)
    return Message(key, value, tuple(dead_headers(record, "malformed", "no JSON", AT)))


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
    ("message", "headers", "key"),
    [
        (letter(b"k", REPEATED, ("a", b"b")), 1, b"k"),
        (letter(b"k", b"v", ("a", REPEATED), ("b", b"")), 0, b"k"),
        (letter(REPEATED, b"v"), 0, None),
        (letter(REPEATED, REPEATED, ("a", REPEATED)), 0, None),
    ],
    ids=["value", "headers", "key", "everything"],
)
def test_what_is_too_large_even_so_goes_without_its_value_and_says_so(
    message: Message, headers: int, key: bytes | None
) -> None:
    cut, value = fitted(message), message.value or b""
    assert (cut.value, cut.key) == (None, key)
    assert len(cut.headers) == headers + 8
    told = dict(cut.headers)
    assert (told["livecard-error"] or b"").startswith(b"no JSON (too large for the dead letters' topic: ")
    assert told["livecard-reason"] == b"malformed"
    assert told["livecard-size"] == str(len(value)).encode()
    assert told["livecard-sha256"] == sha256(value).hexdigest().encode()
    published = Draft202012Validator(dead_letter_headers())
    texts = {name: (text or b"").decode() for name, text in told.items()}
    assert published.is_valid(texts)
    assert not published.is_valid({**texts, "livecard-size": "no number"})
    assert fitted(cut) is cut
    assert size(cut) < COMPRESS_ABOVE


async def test_a_topic_with_the_brokers_defaults_takes_every_dead_letter(
    kafka: str, topic_prefix: str
) -> None:
    """1 MiB, made by somebody else: the small ones stay whole, the others go without what does not fit."""
    settings, topic = await made_by_others(kafka, topic_prefix)
    letters = [
        letter(b"a", b"small"),
        letter(b"b", LARGEST, ("h", b"v")),
        letter(b"c", b"small too"),
        letter(b"d", b"v", ("h", NOISE * 18)),
        letter(NOISE * 18, NOISE * 18),
    ]
    async with bus_of(settings) as bus:
        await publish_letters(bus, topic, [fitted(each) for each in letters])
    found = [(each.key, each.value, len(each.headers)) for each in await read_all(kafka, topic, 5)]
    assert found == [
        (b"a", b"small", 6),
        (b"b", None, 9),
        (b"c", b"small too", 6),
        (b"d", None, 8),
        (None, None, 8),
    ]


async def test_one_record_of_a_megabyte_does_not_hold_up_its_partition(kafka: str, topic_prefix: str) -> None:
    """The dead letters' topic has the broker's default limit; what is behind the record is taken in, and
    `replay` leaves the letter without a value alone."""
    settings, dead = await made_by_others(kafka, topic_prefix)
    topics, store = Topics(topic_prefix), TroubledStore()
    async with bus_of(settings) as bus:
        await bus.publish(topics.events, [Message(b"a", LARGEST), Message(b"a", opened("a"))])
        async with consuming(settings, store, bus):
            await until(lambda: "open-a" in store.ids, "what is behind it is in")
    (found,) = await read_all(kafka, dead, 1)
    assert (found.key, found.value, dict(found.headers)["livecard-size"]) == (b"a", None, b"1048400")
    (left,) = [each async for each in _letters(settings)]
    assert (left.cut, left.key) == (True, None)


def test_replay_refuses_a_letter_without_its_value_even_where_its_headers_make_an_event() -> None:
    """An event of binary mode without data would be another one than its producer sent."""
    ce = {
        "ce_specversion": b"1.0",
        "ce_id": b"1",
        "ce_source": b"/s",
        "ce_type": b"livecard.activity.closed",
        "ce_subject": b"a",
        "ce_time": b"2026-01-01T00:00:00Z",
    }
    whole = letter(b"k", None, *ce.items())
    less = smaller(whole)
    assert less is not None
    assert _letter(_Read(whole)).key is not None
    refused = _letter(_Read(less))
    assert (refused.key, refused.cut) == (None, True)


class _Read:
    """A record as read from the topic."""

    def __init__(self, message: Message) -> None:
        self.key, self.value, self.headers = message.key, message.value, message.headers


async def made_by_others(kafka: str, prefix: str) -> tuple[Settings, str]:
    """Every topic as a platform team makes it: with the broker's defaults."""
    settings, topics = Settings(kafka=kafka, topic_prefix=prefix, kafka_session=6.0), Topics(prefix)
    await make_topics(kafka, {spec.name: {} for spec in topics.specs()})
    return settings, topics.dead


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
    assert (message.value, dict(message.headers)["livecard-size"]) == (None, b"6000000")


async def test_the_relay_fits_the_dead_letters_of_the_outbox() -> None:
    bus, store = MemoryBus(), TroubledStore()
    async with store.transaction() as tx:
        row = dead_row("a", record(0, REPEATED), "parked_too_long", "no opened came", 0)
        await tx.write(Writes(outbox=[row]))
    await relay(store, bus).round()
    ((_, message),) = bus.published
    assert (message.value, dict(message.headers)["livecard-size"]) == (None, b"6000000")
