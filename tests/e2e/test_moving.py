"""The line moves to another Kafka cluster while everything runs (docs/operations.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from contracts.changes import ParticipantDone
from contracts.topics import Topics
from services.kafka.embedded import EmbeddedKafka
from tests.e2e.line import Line, a_line, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


@pytest.fixture
def other(topic_prefix: str) -> Iterator[str]:
    """Another cluster, which has the topics."""
    cluster = EmbeddedKafka()
    yield cluster.start(spec.name for spec in Topics(topic_prefix).specs())
    cluster.stop()


async def test_lifecycles_read_both_clusters_until_the_old_one_is_left(
    line: Line, kafka: str, other: str
) -> None:
    """Producers move one by one; what a mirror or a producer sends to both counts once; every change is on
    one of the two."""
    people = ["gp-1", "gp-2", "gp-3", "gp-4"]
    line.declare("m-1", people)
    old = await line.start("lifecycle", "dispatcher")
    first = line.completed("m-1", "gp-1")
    await line.send(line.opened("m-1", people), first)
    await until(lambda: "gp-1" in line.card("m-1").posts, "the old cluster's is told")

    left, moved = line.producer, AIOKafkaProducer(bootstrap_servers=other)
    await moved.start()
    try:
        line.kafka = other
        await line.start("lifecycle")
        await line.send(line.completed("m-1", "gp-2"))
        line.producer = moved
        await line.send(first, line.completed("m-1", "gp-3"))
        await until(lambda: {*people[:3]} <= line.card("m-1").posts.keys(), "both clusters' are told")

        for service in old:
            assert await service.terminate() == 0
        await line.start("dispatcher")
        await line.send(line.completed("m-1", "gp-4"))
        await until(lambda: "gp-4" in line.card("m-1").posts, "the old cluster is left")
    finally:
        line.producer = left
        await moved.stop()
    assert line.card("m-1").posts == dict.fromkeys(people, 1)
    events = (await line.settled())["events"]
    assert (events["taken"], events["repeats"]) == (5, 1), events
    assert await told(line, other, "gp-4"), "what the new lifecycle changed is on the new cluster"
    assert await told(line, kafka, "gp-1"), "what was changed before stays where it was"


async def told(line: Line, cluster: str, member: str) -> bool:
    """Whether `activity.changes` there says that this member is done."""
    line.kafka = cluster
    changes = await line.changes(
        lambda found: any(
            isinstance(each.data, ParticipantDone) and member in each.data.members for each in found
        )
    )
    return bool(changes)
