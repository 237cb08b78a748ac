"""The tail: everything from where it began, whatever becomes of brokers, partitions and the topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndTimestamp

from contracts.topics import Topics
from services.kafka import tail as tails
from services.kafka.embedded import EmbeddedKafka
from services.kafka.ports import Message
from services.kafka.tail import Tail
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from tests.kafka.reading import bus_of, make_topics, settings_for
from tests.lifecycle.support import until

TOPIC = "activity.changes"


class Heard:
    """What a reader was told, in order; records as their values."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.signs: list[str] = []

    def take(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        self.values.append((value or b"").decode())

    def begin(self) -> None:
        self.signs.append("begin")

    def gap(self) -> None:
        self.signs.append("gap")


class Log:
    """A topic as a fake broker keeps it: partition → records; `start` is the offset of the first."""

    def __init__(self, **partitions: Sequence[str]) -> None:
        self.partitions: dict[int, list[str]] = {
            int(name[1:]): list(each) for name, each in partitions.items()
        }
        self.young: dict[int, int] = {}
        self.failures: list[Exception] = []
        self.refused: list[tuple[int, int]] = []
        self.made = self.looks = 0

    def consumer(self, **options: Any) -> FakeConsumer:
        """As `AIOKafkaConsumer`."""
        assert "group_id" not in options
        self.made += 1
        return FakeConsumer(self)


class FakeConsumer:
    """As much of aiokafka's consumer as a tail uses."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._at: dict[TopicPartition, int] = {}
        self._client = SimpleNamespace(add_topic=self._nothing, close=self._nothing)
        self._coordinator = self._fetcher = None  # nothing of it runs by itself
        self._state = SimpleNamespace()
        assignment = SimpleNamespace(tps=["one"], state_value=lambda _: self._state)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    async def _nothing(self, *_: object) -> None:
        return None

    async def start(self) -> None:
        self._fail()

    async def stop(self) -> None:
        self._at.clear()

    def _fail(self) -> None:
        if self._log.failures:
            raise self._log.failures.pop()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        assert topic == TOPIC
        self._log.looks += 1
        return set(self._log.partitions) or None

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._at)

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(places, -1)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._at[place] = offset

    async def position(self, place: TopicPartition) -> int:
        return self._at[place]

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: len(self._log.partitions[place.partition]) for place in places}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        young = self._log.young
        return {
            place: OffsetAndTimestamp(young[place.partition], at) if place.partition in young else None
            for place, at in times.items()
        }

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        self._fail()
        if self._log.refused:  # as `services.kafka.patches.lost_records` keeps it
            self._state.jumps = [self._log.refused.pop()]
        found = {}
        for place, at in self._at.items():
            records = self._log.partitions.get(place.partition, [])[at:][:max_records]
            if records:
                found[place] = [
                    SimpleNamespace(key=b"k", value=value.encode(), offset=at + number)
                    for number, value in enumerate(records)
                ]
                self._at[place] = at + len(records)
        return found


@asynccontextmanager
async def tailing(log: Log, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    """A tail of this log, until the block ends."""
    monkeypatch.setattr(tails, "WAIT", 0.0)
    monkeypatch.setattr(tails, "POLL", 0.001)
    heard = Heard()
    tail = Tail(Settings(kafka="nowhere:1"), TOPIC, heard, RealClock(), log.consumer)
    await tail.start()
    try:
        yield heard
    finally:
        await tail.stop()


async def test_it_begins_an_hour_back_and_says_when_it_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partition 1 has nothing so young."""
    log = Log(p0=["a", "b", "c"], p1=["x", "y"])
    log.young = {0: 1}
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["begin"], "it has caught up")
        assert heard.values == ["b", "c"]
        log.partitions[1].append("z")
        await until(lambda: heard.values == ["b", "c", "z"], "what is new comes")


async def test_it_does_not_read_back_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MOST_BACK", 4)
    log = Log(p0=list("abcdef"), p1=list("uvwxyz"))
    log.young = {0: 0, 1: 5}
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["begin"], "it has caught up")
        assert sorted(heard.values) == ["e", "f", "z"]


async def test_it_goes_on_where_it_was_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(p0=["a"])
    log.young = {0: 0}
    log.failures = [KafkaConnectionError("away"), KafkaConnectionError("away"), ValueError("a bug")]
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.values == ["a"], "it reads")
        log.failures.append(KafkaConnectionError("away"))
        log.partitions[0].append("b")
        await until(lambda: heard.values == ["a", "b"], "it reads on")
        assert (log.failures, log.made, heard.signs) == ([], 5, ["begin"])


async def test_a_partition_that_is_added_is_read_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(p0=["a"])
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["begin"], "it reads")
        log.partitions[1] = ["x", "y"]
        log.partitions[0].append("b")
        await until(lambda: sorted(heard.values) == ["b", "x", "y"], "both are read, and nothing twice")
        assert heard.signs == ["begin"]


async def test_a_topic_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: log.looks > 1, "it has looked for the topic in vain")
        assert heard.signs == []
        log.partitions = {0: [], 1: []}
        await until(lambda: heard.signs == ["begin"], "it reads")


@pytest.mark.parametrize("anew", [{0: ["x"], 1: ["y"]}, {0: ["x"]}])
async def test_a_topic_that_was_away_has_a_gap(
    monkeypatch: pytest.MonkeyPatch, anew: dict[int, list[str]]
) -> None:
    log = Log(p0=[], p1=[])
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["begin"], "it reads")
        log.partitions, seen = {}, log.looks
        await until(lambda: log.looks > seen, "it has seen that the topic is away")
        log.partitions = anew
        await until(lambda: sorted(heard.values) == sorted(chain(*anew.values())), "it reads on")
        assert set(heard.signs[1:]) == {"gap"}


async def test_records_that_were_deleted_unread_are_a_gap_before_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(p0=[])
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["begin"], "it reads")
        heard.take = lambda *_: heard.signs.append("record")  # type: ignore[method-assign]  # one list for both
        log.refused = [(3, 9)]
        log.partitions[0].append("x")
        await until(lambda: heard.signs == ["begin", "gap", "record"], "in this order")


async def test_a_topic_made_anew_while_it_is_read_back_may_never_grow_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(p0=["a", "b", "c"])
    log.young = {0: 0}
    log.refused = [(3, 0)]
    log.failures = [KafkaConnectionError("away")]
    monkeypatch.setattr(FakeConsumer, "end_offsets", lambda *_: _ends())
    async with tailing(log, monkeypatch) as heard:
        await until(lambda: heard.signs == ["gap", "begin"], "it reads")


async def _ends() -> dict[TopicPartition, int]:
    return {TopicPartition(TOPIC, 0): 1_000}


def messages(first: int, count: int) -> list[Message]:
    """Numbered ones, over many keys."""
    return [Message(f"k{number}".encode(), str(number).encode()) for number in range(first, first + count)]


async def test_on_apache_kafka_it_sees_all_through_a_new_partition_and_a_topic_made_anew(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kafka.options.METADATA_EVERY", 0.2)
    settings = await settings_for(kafka, topic_prefix, partitions=2)
    topic, heard = Topics(topic_prefix).changes, Heard()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.split(","))
    await admin.start()
    tail = Tail(settings, topic, heard, RealClock())
    try:
        async with bus_of(settings) as bus:
            await bus.publish(topic, messages(0, 50))
            await tail.start()
            await until(lambda: heard.signs == ["begin"], "it has caught up")
            assert sorted(map(int, heard.values)) == list(range(50))
            await admin.create_partitions({topic: NewPartitions(3)})
        async with bus_of(settings) as bus:
            await bus.publish(topic, messages(50, 50))
            await until(lambda: len(heard.values) >= 100, "the new partition is read, too")
            assert sorted(map(int, heard.values)) == list(range(100))
            assert heard.signs == ["begin"]
            await admin.delete_topics([topic])
        await _make_anew(kafka, topic)
        async with bus_of(settings) as bus:
            await bus.publish(topic, messages(100, 200))
            await until(lambda: "gap" in heard.signs and "299" in heard.values, "the new topic is read")
            assert len(heard.values) == len(set(heard.values))
    finally:
        await tail.stop()
        await admin.close()


async def _make_anew(kafka: str, topic: str) -> None:
    """Make a topic as soon as the one of this name is gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.split(","))
    await admin.start()
    try:
        while topic in await admin.list_topics():  # noqa: ASYNC110 (the broker decides)
            await asyncio.sleep(0.05)
        await make_topics(kafka, {topic: {}}, partitions=3)
    finally:
        await admin.close()


async def test_on_the_embedded_broker_it_sees_all_that_is_new() -> None:
    pytest.importorskip("confluent_kafka")
    topics, embedded, heard = Topics("e."), EmbeddedKafka(), Heard()
    settings = Settings(kafka=embedded.start([topics.changes]), topic_prefix="e.")
    tail = Tail(settings, topics.changes, heard, RealClock())
    try:
        async with bus_of(settings) as bus:
            await tail.start()
            await until(lambda: heard.signs == ["begin"], "it has caught up")
            await bus.publish(topics.changes, messages(0, 100))
            await until(lambda: len(heard.values) == 100, "all are there")
            assert sorted(map(int, heard.values)) == list(range(100))
    finally:
        await tail.stop()
        embedded.stop()
