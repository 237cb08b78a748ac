"""The dead letters' topic as commands read it: everything that is there at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from contracts.records import Record
from contracts.topics import Topics
from services.cli.errors import CommandError
from services.cli.stretch import QUIET, read_until
from services.kafka.bus import KafkaBus
from services.kafka.errors import brief
from services.kafka.options import BrokerError, kafka_options
from services.kafka.oversized import size
from services.kafka.patches import header_names
from services.kafka.ports import Message
from services.runtime.settings import Settings
from services.transactions.erasing import record_without

ROUND: Final = 1_000
"""Records of one poll, and letters that are sent together."""
PAGE_BYTES: Final = 4 << 20
"""Bytes after which letters that are written anew are sent, however few: a letter may have 2 MiB."""


class Letters:
    """The topic up to `ends`, which are its ends of the moment in which it was opened."""

    def __init__(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        self._consumer, self.ends = consumer, ends

    async def read(self) -> AsyncIterator[Any]:
        """Every record, in order of each partition, from the beginning; may be asked again. Raises
        `TimeoutError` where the broker is gone."""
        async with asyncio.timeout(QUIET):
            self._consumer.assign([*self.ends])
            await self._consumer.seek_to_beginning(*self.ends)
        async for records in read_until(self._consumer, self.ends, ROUND):
            for record in records:
                yield record


@asynccontextmanager
async def open_letters(settings: Settings) -> AsyncIterator[Letters]:
    """The topic as it is now. Raises `CommandError` where there is none, `BrokerError` where it cannot be
    read."""
    topic = Topics(settings.topic_prefix).dead
    header_names.install()
    consumer = AIOKafkaConsumer(
        **kafka_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        numbers = await _partitions(consumer, topic)
        if not numbers:
            raise CommandError(
                f"the topic {topic} does not exist at {settings.kafka} (`livecard init` makes it; is "
                "LIVECARD_TOPIC_PREFIX right?)"
            )
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        yield Letters(consumer, await consumer.end_offsets(partitions))
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(f"cannot read {topic} at {settings.kafka}: {brief(error)}") from error
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.force_metadata_update()  # noqa: SLF001 (a fresh client has not asked yet)
    return consumer.partitions_for_topic(topic) or set()


class Cleared(msgspec.Struct, frozen=True):
    """`erased`: letters about the person alone, or unreadable; `rewritten`: those that go on without."""

    erased: int = 0
    rewritten: int = 0


async def forget_letters(settings: Settings, names: Collection[str]) -> Cleared:
    """Take one person out of the dead letters. Kafka deletes no single record, so what stays is written once
    more, and then everything before it is deleted. Cut off in between, letters are there twice, which
    `replay` knows how to read; run again, they are once.
    """
    async with open_letters(settings) as letters:
        erased = rewritten = 0
        async for record in letters.read():
            left = record_without(kept := _kept(record), names)
            erased += left is None
            rewritten += left is not None and left is not kept
        if erased or rewritten:
            await _write_anew(settings, letters, names)
    return Cleared(erased, rewritten)


def _kept(record: Any) -> Record:
    return Record("", 0, 0, record.key, record.value, tuple(record.headers))


async def _pages(letters: Letters, names: Collection[str]) -> AsyncIterator[list[Message]]:
    """What stays of the letters, bounded in number and bytes."""
    page: list[Message] = []
    held = 0
    async for record in letters.read():
        if (left := record_without(_kept(record), names)) is None:
            continue
        page.append(message := Message(left.key, left.value, left.headers))
        held += size(message)
        if len(page) == ROUND or held >= PAGE_BYTES:
            yield page
            page, held = [], 0
    if page:
        yield page


async def _write_anew(settings: Settings, letters: Letters, names: Collection[str]) -> None:
    topic, bus = Topics(settings.topic_prefix).dead, KafkaBus(settings)
    try:
        await bus.start()
        async for page in _pages(letters, names):
            await bus.publish(topic, page)
    finally:
        await bus.stop()
    admin = AIOKafkaAdminClient(**kafka_options(settings))
    try:
        await admin.start()
        await admin.delete_records({each: RecordsToDelete(end) for each, end in letters.ends.items()})
    except AttributeError as error:  # an embedded broker, which knows no such request
        raise BrokerError(f"the broker at {settings.kafka} deletes no records") from error
    finally:
        await admin.close()
