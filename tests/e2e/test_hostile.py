"""A hostile topic: whatever stands between good events, each of those counts and each bad one is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from contracts.topics import Topics
from scripts.patience import PATIENCE
from tests.e2e.line import Line, a_line, until

pytestmark = pytest.mark.slow
SEED = 20261121
PEOPLE = 200


def bad_value(line: Line, chance: random.Random) -> bytes | None:
    """One record that is no event of ours, each in its own way."""
    good = line.completed("h-1", "gp-1")
    kinds: list[Any] = [
        lambda: None,
        lambda: b"",
        lambda: b"\xff\xfe\x00",
        lambda: b"[" * 100_000,
        lambda: b'{"specversion": "1.0", "data": ' + b'{"a":' * 5_000,
        lambda: b"x" * 1_000_000,
        lambda: msgspec.json.encode({**good, "specversion": "0.3"}),
        lambda: msgspec.json.encode({**good, "id": "a\u0000b"}),
        lambda: msgspec.json.encode({**good, "time": "yesterday"}),
        lambda: msgspec.json.encode({**good, "subject": 7}),
        lambda: msgspec.json.encode({**good, "type": "livecard.activity.exploded"}),
        lambda: msgspec.json.encode({**good, "data": {"members": ["gp-1", 5]}}),
        lambda: msgspec.json.encode({**good, "data": {"members": [f"gp-{n}" for n in range(501)]}}),
        lambda: msgspec.json.encode(good)[: chance.randrange(1, 60)],
        lambda: b'{"specversion": "1.0", "id": 1e999}',
        lambda: b'"just a text"',
    ]
    value: bytes | None = chance.choice(kinds)()
    return value


async def test_good_events_count_and_bad_ones_are_told(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """1,200 bad records of sixteen kinds among 400 good ones, in any partition, with odd keys and headers."""
    chance = random.Random(SEED)
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        (lifecycle,) = await line.start("lifecycle")
        people = [f"gp-{number:03}" for number in range(PEOPLE)]
        await line.send(line.opened("h-1", people), line.opened("h-2", people))
        topic = Topics(line.prefix).events
        sent, bad = [], 0
        for place in range(1_600):
            headers: list[tuple[str, bytes]] = [("trace", bytes(chance.randrange(256) for _ in range(9)))]
            if place % 4 == 0:
                name = f"h-{1 + place % 8 // 4}"
                value: bytes | None = msgspec.json.encode(line.completed(name, people[place // 8]))
                headers.append(("content-type", b"text/nonsense"))
            else:
                bad, value = bad + 1, bad_value(line, chance)
                headers += [("livecard-reason", b"forged")] * chance.randrange(2)
            key = chance.choice([None, b"", b"\xff", b"h-1"])
            sent.append(await produce(line, topic, key, value, headers))
        await asyncio.gather(*sent)

        async def all_in() -> dict[str, Any] | None:
            ledger = await line.ledger()
            return ledger if ledger["events"]["taken"] == 1_602 else None

        ledger = await until(all_in, "every record is taken in", 120)
        assert ledger["balanced"]
        assert ledger["events"]["applied"] == 402
        assert ledger["events"]["dead"] == bad
        reasons = await dead_letters(line, bad)
        assert reasons.keys() == {"malformed", "invalid", "unknown_type"}
        assert sum(reasons.values()) == bad
        assert await lifecycle.terminate() == 0


async def produce(
    line: Line, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> Any:
    """Also a record with neither key nor value, which the producer's own `send` refuses."""
    if key is not None or value is not None:
        return await line.producer.send(topic, value, key=key, headers=headers)
    batch = line.producer.create_batch()
    batch.append(timestamp=None, key=None, value=None, headers=headers)
    return await line.producer.send_batch(batch, topic, partition=0)


async def dead_letters(line: Line, count: int) -> Counter[str]:
    """The reasons of the dead letters, each with our headers last and once."""
    consumer = AIOKafkaConsumer(
        Topics(line.prefix).dead,
        bootstrap_servers=[line.kafka],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    reasons: Counter[str] = Counter()
    try:
        async with asyncio.timeout(PATIENCE):
            while reasons.total() < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        ours = [name for name, _ in record.headers][-6:]
                        assert ours == [
                            "livecard-reason",
                            "livecard-error",
                            "livecard-topic",
                            "livecard-partition",
                            "livecard-offset",
                            "livecard-time",
                        ]
                        told = [value for name, value in record.headers if name == "livecard-reason"]
                        assert len(told) == 1
                        reasons[told[0].decode()] += 1
    finally:
        await consumer.stop()
    return reasons
