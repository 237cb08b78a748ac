"""The events of the benchmarks, and how they get into Kafka and the changes out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.wechat import now
from contracts.times import SECOND, format_rfc3339

Record = tuple[str, bytes]
"""Key and value."""


def name(place: int) -> str:
    """The name of an activity by its number."""
    return f"activity-{place:07}"


def event(kind: str, activity: str, key: str, data: dict[str, Any]) -> Record:
    """A CloudEvent; `kind` without the `livecard.` before it."""
    envelope = {
        "specversion": "1.0",
        "id": key,
        "source": "/bench",
        "type": f"livecard.{kind}",
        "subject": activity,
        "time": format_rfc3339(now()),
        "data": data,
    }
    return activity, msgspec.json.encode(envelope)


def opened(activity: str, appid: str, **data: Any) -> Record:
    """An activity for everyone that lives for a day unless told otherwise."""
    life = format_rfc3339(now() + 86_400 * SECOND)
    body = {"appid": appid, "template": "complete", "choose": "everyone", "expires_at": life, **data}
    return event("activity.opened", activity, f"o-{activity}", body)


def completed(activity: str, member: str = "member") -> Record:
    """One member of an activity has finished."""
    return event("participant.completed", activity, f"c-{activity}-{member}", {"members": [member]})


def closed(activity: str) -> Record:
    """An activity is closed by its publisher."""
    return event("activity.closed", activity, f"x-{activity}", {})


@asynccontextmanager
async def producing(kafka: str, *, linger_ms: int = 0) -> AsyncIterator[AIOKafkaProducer]:
    """A producer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.split(","), linger_ms=linger_ms, max_batch_size=256 << 10
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def produce(kafka: str, topic: str, records: Sequence[Record]) -> None:
    """Produce all, as fast as the broker takes them."""
    async with producing(kafka, linger_ms=20) as producer:
        for start in range(0, len(records), 10_000):
            part = records[start : start + 10_000]
            sent = [await producer.send(topic, value, key=key.encode()) for key, value in part]
            await asyncio.gather(*sent)


async def make_topic(kafka: str, topic: str, partitions: int = 8) -> None:
    """A topic of a peer's own."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.split(","))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


@asynccontextmanager
async def consuming(kafka: str, topic: str, *, from_start: bool) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, at the beginning or the end of every partition."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.split(","),
        auto_offset_reset="earliest" if from_start else "latest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        for each in consumer.assignment():
            await consumer.position(each)  # which is where it begins, from now on
        yield consumer
    finally:
        await consumer.stop()


async def everything(kafka: str, topic: str) -> list[bytes]:
    """The values of all records that a topic holds now."""
    values: list[bytes] = []
    async with consuming(kafka, topic, from_start=True) as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        left = {each for each, end in ends.items() if end}
        while left:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                values += [record.value for record in records]
                if records and records[-1].offset + 1 >= ends[partition]:
                    left.discard(partition)
    return values
