"""Topics that change while the lifecycle reads them: more partitions, deleted, made anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from contracts.topics import Topics
from services.kafka import options
from services.kafka.bus import KafkaBus
from tests.kafka.reading import bus_of, settings_for
from tests.lifecycle.support import TroubledStore, until
from tests.lifecycle.test_consumer_kafka import consuming, openings, ready


@asynccontextmanager
async def administering(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """What a platform team does to topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_partitions_that_are_added_are_read_without_a_restart(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the interval as it is in production, shortened to keep the test short."""
    assert options.METADATA_EVERY <= 15
    monkeypatch.setattr(options, "METADATA_EVERY", 1.0)
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store = Topics(topic_prefix), TroubledStore()
    async with consuming(settings, store, KafkaBus(settings)) as one:
        await ready(one)
        async with administering(kafka) as admin:
            await admin.create_partitions({topics.events: NewPartitions(4)})
        async with bus_of(settings) as bus:
            await bus.publish(topics.events, openings())
        await until(lambda: len(store.ids) == 20, "all are in")
        await until(lambda: len((one._membership and one._membership.assigned) or ()) == 4, "all are ours")


async def test_a_topic_that_is_deleted_and_made_anew_is_joined_again(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ready meanwhile, and it goes on by itself."""
    settings = await settings_for(kafka, topic_prefix, partitions=1)
    topics, store = Topics(topic_prefix), TroubledStore()
    async with consuming(settings, store, KafkaBus(settings)) as one:
        await ready(one)
        async with administering(kafka) as admin:
            await admin.delete_topics([topics.events])
        await until(lambda: "does not exist" in one._joining, "it says what is missing")
        assert "does not exist" in (await one.ready() or "")
        await settings_for(kafka, topic_prefix, partitions=1)
        async with bus_of(settings) as bus:
            await bus.publish(topics.events, openings())
            await until(lambda: len(store.ids) == 20, "all are in")
            await ready(one)
        assert one._membership is not None
        monkeypatch.setattr(one._membership, "topic_exists", lambda: False)
        assert "does not exist" in (await one.ready() or ""), "at once, before it has left"
