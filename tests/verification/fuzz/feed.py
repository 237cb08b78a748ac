"""Brings the fuzzer's records into the topic as foreign producers do, and follows how far they are read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from scripts.patience import PATIENCE
from services.kafka.batches import MAX_BATCH_BYTES, _AnyNames, _Name, build
from services.kafka.oversized import size
from services.kafka.ports import Message
from tests.kafka.reading import committed
from tests.verification.fuzz.makings import PARTITIONS, Planned

CHUNK: Final = 2_000
"""Records made and sent together."""
LARGEST: Final = 16 << 20
"""Bytes of a record before it is compressed."""


class Feeder:
    """Sends to the partitions that were planned; `ends` is where each of them ends now."""

    def __init__(self, kafka: str, topic: str, seed: int) -> None:
        self.topic, self.chance = topic, random.Random(f"feed {seed}")
        self.ends = [0] * PARTITIONS
        self.bytes = 0
        # Idempotent, so that a record's place in its partition is known as it is sent.
        self._producer: Any = AIOKafkaProducer(
            bootstrap_servers=kafka.split(","),
            acks="all",
            enable_idempotence=True,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=LARGEST,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Leave."""
        await self._producer.stop()

    async def send(self, records: Iterator[Planned], count: int) -> None:
        """The next `count` of them, acknowledged."""
        under_way: list[asyncio.Future[Any]] = []
        while count > 0:
            chunk = list(islice(records, min(CHUNK, count)))
            count -= len(chunk)
            await self._acknowledged(under_way)
            under_way = await self._chunk(chunk)
        await self._acknowledged(under_way)

    async def _chunk(self, chunk: list[Planned]) -> list[asyncio.Future[Any]]:
        parts: dict[int, list[Message]] = {}
        for each in chunk:
            parts.setdefault(each.partition, []).append(each.message)
            self.bytes += size(each.message)
        return [
            await self._producer.send_batch(batch, self.topic, partition=place)
            for place, messages in parts.items()
            for batch in self._batches(place, messages)
        ]

    def _batches(self, place: int, messages: list[Message]) -> list[Any]:
        """Now and then all in one, broken names among others; else as our own producer does it."""
        self.ends[place] += len(messages)
        if self.chance.random() < 0.1 and sum(map(size, messages)) < MAX_BATCH_BYTES:
            return [_together(messages, self.chance.choice([0, 1]))]
        return list(build(messages, self._producer.create_batch))

    async def _acknowledged(self, under_way: list[asyncio.Future[Any]]) -> None:
        for each in under_way:
            await each


def _together(messages: list[Message], codec: int) -> BatchBuilder:
    """One record batch of all; `codec` as Kafka numbers them."""
    batch = _AnyNames(codec)
    batch._builder._batch_size = LARGEST
    for message in messages:
        headers: Any = [(_Name(name), value) for name, value in message.headers]
        assert batch.append(timestamp=None, key=message.key, value=message.value, headers=headers)
    return batch


async def read_up_to(kafka: str, group: str, topic: str, count: int) -> None:
    """Wait until the group has committed so many records."""
    loop = asyncio.get_running_loop()
    done, moved = -1, loop.time()
    while done < count:
        found = sum((await committed(kafka, group, topic, PARTITIONS)).values())
        if found > done:
            done, moved = found, loop.time()
        if loop.time() - moved > PATIENCE:
            raise AssertionError(f"{done} of {count} records were read, and none more for {PATIENCE:g} s")
        await asyncio.sleep(0.2)  # polling another process's progress, bounded above
