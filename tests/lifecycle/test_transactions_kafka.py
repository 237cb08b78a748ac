"""Events of producers that use Kafka's transactions: what was taken back never happened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.bus import KafkaBus
from services.kafka.ports import Message
from tests.kafka.reading import bus_of, committed, settings_for
from tests.lifecycle.support import TroubledStore, until
from tests.lifecycle.test_consumer_kafka import consuming, events, openings, ready


async def test_only_committed_events_are_taken_in(kafka: str, topic_prefix: str) -> None:
    """A transaction that is aborted, one that is committed, plain events before, between and after."""
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store = Topics(topic_prefix), TroubledStore()

    async def send(producer: AIOKafkaProducer, messages: Sequence[Message]) -> None:
        for message in messages:
            await producer.send_and_wait(topics.events, message.value, key=message.key)

    async with (
        bus_of(settings) as bus,
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix) as producer,
    ):
        await bus.publish(topics.events, openings())
        await producer.begin_transaction()
        await send(producer, events(topics, range(100, 110)))
        await bus.publish(topics.events, events(topics, range(10)))
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, events(topics, range(10, 20)))
        await bus.publish(topics.events, events(topics, range(20, 30)))
        async with consuming(settings, store, bus):
            await until(lambda: {f"c{n}" for n in range(30)} <= store.ids, "what was committed is in")
    assert not {f"c{n}" for n in range(100, 110)} & store.ids


async def test_an_aborted_transaction_at_the_end_of_a_partition_is_no_lag(
    kafka: str, topic_prefix: str
) -> None:
    """Neither in our metric nor in the group's offsets: nothing is left to do."""
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store = Topics(topic_prefix), TroubledStore()
    async with (
        bus_of(settings) as bus,
        consuming(settings, store, bus) as one,
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix) as producer,
    ):
        await bus.publish(topics.events, openings())
        await until(lambda: len(store.ids) == 20, "all are in")
        await producer.begin_transaction()
        for message in events(topics, range(50)):
            await producer.send_and_wait(topics.events, message.value, key=message.key)
        await producer.abort_transaction()
        member = one._membership
        assert member is not None
        async with asyncio.timeout(PATIENCE):
            while await member.lag() != {0: 0}:  # noqa: ASYNC110 (the consumer passes them over)
                await asyncio.sleep(0.05)
            while await committed(kafka, topics.lifecycle_group, topics.events, 1) != {0: 71}:  # noqa: ASYNC110 (the same)
                await asyncio.sleep(0.05)
    async with consuming(settings, store, KafkaBus(settings)) as another:
        await ready(another)
        assert another._membership is not None
        assert await another._membership.lag() == {0: 0}, "nor for one that begins behind it"
    assert len(store.ids) == 20
