"""Dead letters read by a consumer that stands in, for what Apache Kafka cannot be made to do.

On Apache Kafka tests/cli/test_forget.py and tests/e2e/test_tools.py read them.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, NamedTuple

import pytest
from aiokafka import TopicPartition

from services.cli import letters
from services.cli.letters import Letters, open_letters
from services.kafka.options import BrokerError
from services.runtime.settings import Settings
from tests.dispatcher.world import in_virtual_time

PLACE = TopicPartition("activity.events.dead", 0)


class Kept(NamedTuple):
    """A record of the topic."""

    offset: int
    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class StandIn:
    """A consumer whose broker dies after the first `alive` records; then nothing comes, and `silent`: no
    position is told either."""

    records: ClassVar[list[Kept]] = []
    alive: ClassVar[int] = 0
    silent: ClassVar[bool] = False

    def __init__(self, **_: Any) -> None:
        self._client = self
        self.at = 0
        self.stopped = False

    async def start(self) -> None:
        """It answers at first."""

    async def stop(self) -> None:
        """Whoever leaves stops it."""
        self.stopped = True

    async def force_metadata_update(self) -> None:
        """Known already."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        assert topic == PLACE.topic
        return {PLACE.partition}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.records))

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [PLACE]

    async def seek_to_beginning(self, *_: TopicPartition) -> None:
        self.at = 0

    async def position(self, _: TopicPartition) -> int:
        if self.silent and self.at == self.alive:
            await asyncio.Event().wait()
        return self.at

    async def getmany(
        self, *_: TopicPartition, timeout_ms: int, **__: Any
    ) -> dict[TopicPartition, list[Kept]]:
        batch = self.records[self.at : self.alive]
        if not batch:
            await asyncio.sleep(timeout_ms / 1000)  # virtual, as long as aiokafka waits for records
        self.at = max(self.at, self.alive)
        return {PLACE: batch} if batch else {}


@pytest.mark.parametrize("silent", [True, False])
@in_virtual_time()
async def test_a_broker_that_dies_in_the_midst_is_told(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    """Neither the wait for records nor the one for a position has no end."""
    monkeypatch.setattr(letters, "AIOKafkaConsumer", StandIn)
    monkeypatch.setattr(StandIn, "records", [Kept(each, b"{}") for each in range(3)])
    monkeypatch.setattr(StandIn, "alive", 2)
    monkeypatch.setattr(StandIn, "silent", silent)
    seen: list[int] = []
    with pytest.raises(BrokerError, match=r"cannot read activity\.events\.dead at nowhere:1: no answer"):
        await read(seen)
    assert seen == [0, 1]


async def read(seen: list[int]) -> None:
    """As the commands do; what was read stays."""
    async with open_letters(Settings(kafka="nowhere:1")) as opened:
        async for each in opened.read():
            seen.append(each.offset)  # noqa: PERF401  # a list of all would be lost with the error


async def test_letters_are_written_anew_in_pages_that_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(letters, "PAGE_BYTES", 100)
    monkeypatch.setattr(letters, "ROUND", 3)
    sizes = [60, 60, 150, 2, 2, 2, 2]
    monkeypatch.setattr(StandIn, "records", [Kept(at, b"x" * size) for at, size in enumerate(sizes)])
    monkeypatch.setattr(StandIn, "alive", len(sizes))
    there = Letters(StandIn(), {PLACE: len(sizes)})
    pages = [[len(each.value or b"") for each in page] async for page in letters._pages(there, ["eve"])]
    assert pages == [[60, 60], [150], [2, 2, 2], [2]]
