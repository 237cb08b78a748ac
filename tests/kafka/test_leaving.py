"""A consumer that was left is gone: nothing of it runs, nothing is connected, whatever its `stop` came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer

from contracts.topics import Topics
from services.kafka.options import kafka_options
from services.kafka.patches.leaving import _tasks, leave
from tests.kafka.reading import settings_for
from tests.lifecycle.support import until


@asynccontextmanager
async def member(kafka: str, prefix: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of a group that fetches."""
    settings, topics = await settings_for(kafka, prefix, partitions=1), Topics(prefix)
    consumer = AIOKafkaConsumer(topics.nudges, **kafka_options(settings), group_id=topics.dispatcher_group)
    await consumer.start()
    await until(lambda: consumer._fetcher._pending_tasks, "it fetches")
    yield consumer


def left(consumer: AIOKafkaConsumer) -> bool:
    """Whether nothing of it is left."""
    connections = consumer._client._conns.values()
    return all(task.done() for task in _tasks(consumer)) and not any(each.connected() for each in connections)


async def test_one_whose_stop_is_cut_off_is_left_whole(kafka: str, topic_prefix: str) -> None:
    """As while its group is joining, or a broker does not answer."""
    async with member(kafka, topic_prefix) as consumer:
        consumer._coordinator.close = asyncio.Event().wait  # it never comes to an end
        assert not left(consumer)
        await leave(consumer, deadline=0.1)
        assert left(consumer)


async def test_one_whose_stop_ends_half_way_is_left_whole(kafka: str, topic_prefix: str) -> None:
    """aiokafka raises what it has cancelled itself, before it closes its connections."""
    async with member(kafka, topic_prefix) as consumer:
        consumer._fetcher._pending_tasks.add(asyncio.create_task(asyncio.sleep(60), name="after a failure"))
        with pytest.raises(asyncio.CancelledError):
            await consumer.stop()
        assert not left(consumer)
        await leave(consumer)
        assert left(consumer)
