"""`livecard rewind` on Apache Kafka where lifecycles lagged; tests/e2e/test_restore.py loses a database."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console

from contracts.records import Record
from contracts.times import SECOND
from contracts.topics import Topics
from services.cli.database import opened_store
from services.cli.rewind import rewind
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from services.store.open import migrate
from services.transactions.apply import apply
from services.transactions.arrivals import read_arrival
from statemachine.model import Rules
from tests.contracts.samples import value_of
from tests.kafka.reading import committed, settings_for

HOUR = 3_600
TYPE = "livecard.participant.completed"


@pytest.fixture
async def settings(kafka: str, topic_prefix: str, sqlite_database: str) -> Settings:
    await migrate(sqlite_database)
    settings = await settings_for(kafka, topic_prefix, partitions=2, batch=2)
    return msgspec.structs.replace(settings, database=sqlite_database)


async def waited(settings: Settings, partition: int, hours: list[float], *, known: int) -> None:
    """Events that producers made so many hours ago; the database took the first ones in just now, and the
    lifecycles all of them: the others after the backup. The second one is malformed."""
    topic = Topics(settings.topic_prefix).events
    records, now = [], RealClock().wall() // 1_000
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        group_id=Topics(settings.topic_prefix).lifecycle_group,
        enable_auto_commit=False,
    )
    await producer.start()
    await consumer.start()
    try:
        for index, ago in enumerate(hours):
            value = b"{]" if index == 1 else value_of(TYPE, id=f"e-{partition}-{index}")
            at = now - round(ago * HOUR * 1_000)
            sent = await producer.send_and_wait(topic, value, partition=partition, timestamp_ms=at)
            records.append(Record(topic, partition, sent.offset, None, value))
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        await consumer.commit({place: len(records)})
    finally:
        await producer.stop()
        await consumer.stop()
    async with opened_store(settings) as store:
        rules = Rules(60 * SECOND, HOUR * SECOND)
        await apply(store, [read_arrival(record) for record in records[:known]], rules)


async def rewound(settings: Settings, to: str = "") -> tuple[str, dict[int, int]]:
    """What it says, and where the group stands then."""
    said = StringIO()
    await rewind(settings, Console(file=said, soft_wrap=True), to=to, go=True, why="")
    topics = Topics(settings.topic_prefix)
    assert settings.kafka
    return said.getvalue(), await committed(settings.kafka, topics.lifecycle_group, topics.events, 2)


async def test_events_that_waited_for_hours_at_the_backup_come_again(settings: Settings) -> None:
    """It goes back until the database knows what is before; one partition is enough for all."""
    await waited(settings, 0, [10, 10, 9, 5, 5, 0.1, 0], known=3)
    await waited(settings, 1, [9, 9, 9], known=3)
    said, places = await rewound(settings)
    assert "Kafka has events from before that which the database does not know: from " in said
    assert "4 of partition 0, from offset 3" in said
    assert places == {0: 3, 1: 3}
    assert "are lost" not in said


async def test_where_the_database_knows_all_an_hour_is_enough(settings: Settings) -> None:
    await waited(settings, 0, [10, 9, 0.5, 0.2], known=4)
    said, places = await rewound(settings)
    assert "Kafka has events from before" not in said
    assert places == {0: 2, 1: 0}


async def test_a_partition_that_had_nothing_for_an_hour_is_looked_at(settings: Settings) -> None:
    await waited(settings, 1, [3, 3, 3], known=3)
    await waited(settings, 0, [3, 3, 3], known=2)
    assert (await rewound(settings))[1] == {0: 0, 1: 0}


async def test_it_goes_back_no_further_than_events_are_remembered_and_tells(settings: Settings) -> None:
    await waited(settings, 0, [10, 10, 9, 5, 5], known=3)
    said, places = await rewound(msgspec.structs.replace(settings, keep_inbox=4.0 * HOUR))
    assert "events from before " in said
    assert "are lost, or not remembered any more (LIVECARD_KEEP_INBOX)" in said
    assert places == {0: 5, 1: 0}
