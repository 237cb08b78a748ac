"""What happens to offsets behind our back: retention deletes records, a transaction holds others back."""

from __future__ import annotations

import asyncio

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.kafka.bus import KafkaBus
from services.runtime.metrics import Metrics
from tests.kafka.reading import bus_of, settings_for
from tests.lifecycle.support import TroubledStore, until
from tests.lifecycle.test_consumer_kafka import consuming, events, openings, ready


async def test_records_that_were_deleted_before_they_were_read_are_told(
    kafka: str, topic_prefix: str
) -> None:
    """An error line with topic, partition and both offsets, and a counter; what is left is read."""
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store, metrics = Topics(topic_prefix), TroubledStore(), Metrics()
    async with bus_of(settings) as bus:
        await bus.publish(topics.events, openings())
        async with consuming(settings, store, bus):
            await until(lambda: len(store.ids) == 20, "all are in")
        await bus.publish(topics.events, events(topics, range(20)))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topics.events, 0): RecordsToDelete(before_offset=30)})
    await admin.close()
    with structlog.testing.capture_logs() as lines:
        async with consuming(settings, store, KafkaBus(settings)) as one:
            one._ingest._metrics = metrics
            await until(lambda: len(store.ids) == 30, "what is left is in")
            await until(
                lambda: metrics.registry.get_sample_value("livecard_lost_records_total"), "it is told"
            )
    assert metrics.registry.get_sample_value("livecard_lost_records_total") == 10
    (line,) = [each for each in lines if each["log_level"] == "error"]
    assert (line["topic"], line["partition"], line["wanted"], line["found"]) == (topics.events, 0, 20, 30)


async def test_what_an_open_transaction_holds_back_can_be_seen(kafka: str, topic_prefix: str) -> None:
    """By a gauge: ready, and lag 0, are both right."""
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store, metrics = Topics(topic_prefix), TroubledStore(), Metrics()

    def told() -> tuple[float | None, float | None]:
        where = {"partition": "0"}
        return (
            metrics.registry.get_sample_value("livecard_consumer_stable_offset", where),
            metrics.registry.get_sample_value("livecard_consumer_held_records", where),
        )

    async with (
        bus_of(settings) as bus,
        consuming(settings, store, bus) as one,
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix) as producer,
    ):
        one._ingest._metrics = metrics
        await bus.publish(topics.events, openings())
        await ready(one)
        await producer.begin_transaction()
        (first,) = events(topics, [100])
        await producer.send_and_wait(topics.events, first.value, key=first.key)
        await bus.publish(topics.events, events(topics, range(10)))
        assert one._membership is not None
        async with asyncio.timeout(PATIENCE):
            while told() != (20, 11):
                await one._measure(one._membership)
                await asyncio.sleep(0.05)
        assert await one._membership.lag() == {0: 0}
        await producer.commit_transaction()
        await until(lambda: len(store.ids) == 31, "all are in")
        async with asyncio.timeout(PATIENCE):
            while told() != (32, 0):
                await one._measure(one._membership)
                await asyncio.sleep(0.05)
