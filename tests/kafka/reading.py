"""Reads topics back for the tests, names of headers included whatever their bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError

from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.admin import create_topics
from services.kafka.batches import _AnyNames, _Name
from services.kafka.bus import KafkaBus
from services.kafka.patches import header_names
from services.kafka.ports import Message
from services.runtime.settings import Settings


async def settings_for(kafka: str, prefix: str, **more: Any) -> Settings:
    """Settings of a test's own topics, which now exist and are served."""
    settings = Settings(kafka=kafka, topic_prefix=prefix, **{"partitions": 4, "kafka_session": 6.0, **more})
    await create_topics(settings)
    await _served(kafka, [spec.name for spec in Topics(prefix).specs(settings.partitions)])
    return settings


async def _served(kafka: str, topics: Sequence[str]) -> None:
    """Until every partition answers: a broker that gets no CPU tells of topics long before it leads them, and
    a producer gives up after 10 s (`NotLeaderForPartition`)."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.split(","))
    await consumer.start()
    try:
        async with asyncio.timeout(PATIENCE):
            places = [
                TopicPartition(topic, each) for topic in topics for each in await _places(consumer, topic)
            ]
            while True:
                with contextlib.suppress(KafkaTimeoutError):
                    await consumer.beginning_offsets(places)
                    return
    finally:
        await consumer.stop()


async def make_topics(kafka: str, topics: Mapping[str, Mapping[str, str]], partitions: int = 1) -> None:
    """Topics with these settings, the broker's defaults for all others."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.split(","))
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=dict(config)) for name, config in topics.items()]
        )
    finally:
        await admin.close()


@asynccontextmanager
async def bus_of(settings: Settings) -> AsyncIterator[KafkaBus]:
    """A started bus."""
    bus = KafkaBus(settings)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def publish_together(kafka: str, topic: str, messages: Sequence[Message]) -> None:
    """All of them in one record batch on partition 0, as a foreign producer may do it."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.split(","), max_request_size=10_000_000)
    await producer.start()
    try:
        batch = _AnyNames(0)
        batch._builder._batch_size = 10_000_000
        for message in messages:
            headers = [(_Name(name), value) for name, value in message.headers]
            assert batch.append(timestamp=None, key=message.key, value=message.value, headers=headers)
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


async def read_all(kafka: str, topic: str, count: int, patience: float = PATIENCE) -> list[Any]:
    """The first `count` records of a topic, partition by partition in order; fails when there are fewer."""
    header_names.install()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.split(","), auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        async with asyncio.timeout(patience):
            places = None
            while not places:
                await consumer.topics()
                places = consumer.partitions_for_topic(topic) or await _places(consumer, topic)
            consumer.assign([TopicPartition(topic, place) for place in sorted(places)])
            records: list[Any] = []
            while len(records) < count:
                for part in (await consumer.getmany(timeout_ms=200)).values():
                    records += part
            return records
    finally:
        await consumer.stop()


async def whole_topic(kafka: str, topic: str) -> AsyncIterator[Any]:
    """A topic's records: each partition from its beginning to its present end, in order."""
    header_names.install()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.split(","), enable_auto_commit=False)
    await consumer.start()
    try:
        async with asyncio.timeout(PATIENCE):
            numbers = await _places(consumer, topic)
            places = [TopicPartition(topic, number) for number in sorted(numbers)]
            ends = await consumer.end_offsets(places)
        for place in places:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            while await consumer.position(place) < ends[place]:
                async with asyncio.timeout(PATIENCE):
                    found = await consumer.getmany(timeout_ms=200)
                    while not found and await consumer.position(place) < ends[place]:
                        found = await consumer.getmany(timeout_ms=200)
                for records in found.values():
                    for each in records:
                        yield each
    finally:
        await consumer.stop()


async def _places(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    found: set[int] = await consumer._client._wait_on_metadata(topic)
    return found


async def committed(kafka: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """What a group has committed, by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.split(","), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, place) for place in range(partitions)]
        consumer.assign(places)
        return {place.partition: await consumer.committed(place) or 0 for place in places}
    finally:
        await consumer.stop()
