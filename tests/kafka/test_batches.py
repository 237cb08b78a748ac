"""Record batches and reading them back, without a broker."""

from __future__ import annotations

import logging
import random
import struct
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from services.kafka.batches import MAX_BATCH_BYTES, _Name, _remembered, build, by_partition, key_hash
from services.kafka.options import LOG_EVERY, _Limit
from services.kafka.patches.header_names import LenientRecords
from services.kafka.ports import Message


def raw(messages: list[Message], codec: int = 0, base: int = 0) -> bytes:
    """One record batch, its first offset `base`, as a careless producer and a broker write it."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 10_000_000)
    for offset, message in enumerate(messages):
        headers: Any = [(_Name(name), value) for name, value in message.headers]
        builder.append(offset, 1_790_000_000_000, message.key, message.value, headers)
    built = builder.build()
    struct.pack_into(">q", built, 0, base)
    return bytes(built)


def read(data: bytes, start: int = 0) -> list[Any]:
    """As aiokafka's fetcher reads, from offset `start` on."""
    place = TopicPartition("t", 0)
    return list(PartitionRecords(place, LenientRecords(data), None, start, None, None, True, 0))


MIXED = [
    Message(b"a", b"1", (("ok", b"x"),)),
    Message(b"b", b"2", (("n\udcff\udc80", None),)),
    Message(None, None, (("null", None), ("v", b"\xff"))),
    Message(b"c", b"3"),
    Message(b"d", b"4", (("\udcfe", b""), ("团", "建".encode()))),
    Message(b"e", b"5"),
]


@pytest.mark.parametrize("codec", [0, 1], ids=["plain", "gzip"])
@pytest.mark.parametrize("start", range(6))
def test_a_name_that_is_not_utf8_costs_no_record_of_its_batch(codec: int, start: int) -> None:
    records = read(raw(MIXED, codec), start)
    assert [record.offset for record in records] == list(range(start, 6))
    for record in records:
        message = MIXED[record.offset]
        assert (record.key, record.value, record.headers) == (message.key, message.value, message.headers)


def test_several_batches_in_one_answer_are_all_read() -> None:
    data = raw(MIXED[:1]) + raw(MIXED[1:3], 1, base=1) + raw(MIXED[3:], base=3)
    assert [record.value for record in read(data)] == [message.value for message in MIXED]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # From Apache Kafka's own UtilsTest.testMurmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_the_java_client_hashes_them(key: bytes, expected: int) -> None:
    assert key_hash(key) == expected & 0x7FFFFFFF


def test_a_key_keeps_its_partition_and_its_order_and_null_keys_go_round() -> None:
    rng = random.Random(7)
    messages = [Message(rng.choice([b"a", b"b", b"c", None]), str(n).encode()) for n in range(200)]
    parts = by_partition(messages, [0, 1, 2, 3], 0)
    for key in (b"a", b"b", b"c"):
        homes = {place for place, part in parts.items() for message in part if message.key == key}
        assert homes == {key_hash(key) % 4}
    for part in parts.values():
        numbers = [int(message.value or b"") for message in part]
        assert numbers == sorted(numbers)
    loose = [sum(message.key is None for message in part) for part in parts.values()]
    assert max(loose) - min(loose) <= 1


def test_no_key_of_any_length_is_kept() -> None:
    """Dead letters keep their producers' keys, up to a megabyte each: only short ones are remembered."""
    before = _remembered.cache_info().currsize
    messages = [Message(b"%d" % number * 1_000, b"") for number in range(50)]
    assert sum(map(len, by_partition(messages, [0, 1, 2, 3], 0).values())) == 50
    assert by_partition(messages, [7], 0) == {7: messages}
    assert _remembered.cache_info().currsize == before
    assert key_hash(b"remembered") == key_hash(b"remembered")
    assert _remembered.cache_info().currsize == before + 1


def test_batches_stay_below_their_size_in_order_and_a_giant_travels_alone() -> None:
    sizes = [1000] * 600 + [MAX_BATCH_BYTES * 2] + [1000] * 5 + [3_000_000] + [10]
    messages = [Message(b"k", bytes(size)) for size in sizes]
    batches = build(messages, lambda: BatchBuilder(MAX_BATCH_BYTES, 0))
    read_back = [record for batch in batches for record in read(bytes(batch._build()))]
    assert [len(record.value) for record in read_back] == sizes
    assert all(batch.size() <= MAX_BATCH_BYTES or batch.record_count() == 1 for batch in batches)
    assert batches[-2].size() < 100_000  # it had come compressed, or it would not have come


def test_the_same_log_line_passes_once_in_a_while_and_tells_what_was_held_back() -> None:
    limit = _Limit()

    def passes(at: float, text: str = "broker %s is away") -> str | None:
        record = logging.LogRecord("aiokafka.x", logging.ERROR, "x.py", 1, text, ("b",), None)
        record.created = at
        return record.getMessage() if limit.filter(record) else None

    assert passes(0.0) == "broker b is away"
    assert passes(0.5) is None
    assert passes(1.0) is None
    assert passes(1.0, "%s is back") == "b is back"
    assert passes(LOG_EVERY) == "broker b is away (and 2 more like it)"
    assert passes(2 * LOG_EVERY) == "broker b is away"
