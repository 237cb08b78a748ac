"""A stretch of some partitions, read to its ends by a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

QUIET: Final = 10.0
"""Seconds without a record after which the broker counts as gone."""


async def read_until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], most: int
) -> AsyncIterator[list[Any]]:
    """The records up to these ends, from where the consumer stands: `most` at once, of one partition.
    Raises `TimeoutError` where none comes for `QUIET`."""
    while True:
        async with asyncio.timeout(QUIET):
            batches = await _next(consumer, ends, most)
        if not batches:
            return
        for partition, records in batches.items():
            yield [each for each in records if each.offset < ends[partition]]


async def _next(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], most: int
) -> dict[TopicPartition, list[Any]]:
    """The next records; none where all were read. Waits for ever where the broker is gone."""
    while left := [each for each, end in ends.items() if await consumer.position(each) < end]:
        batches: dict[TopicPartition, list[Any]] = await consumer.getmany(
            *left, timeout_ms=1_000, max_records=most
        )
        if batches:
            return batches
    return {}
