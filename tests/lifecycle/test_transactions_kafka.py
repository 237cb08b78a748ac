"""Events of producers that use Kafka's transactions: what was taken back never happened."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from contracts.topics import Topics
from services.kafka.ports import Message
from tests.kafka.reading import bus_of, settings_for
from tests.lifecycle.support import TroubledStore, until
from tests.lifecycle.test_consumer_kafka import consuming, events, openings


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
