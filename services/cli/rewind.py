"""`livecard rewind`: after the database was restored from a backup, Kafka's events come once more."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, UnknownMemberIdError
from rich.console import Console

from contracts.records import Record
from contracts.times import SECOND, format_rfc3339, parse_rfc3339
from contracts.topics import Topics
from services.cli.acting import acting
from services.cli.database import check_meant, opened_store
from services.cli.errors import CommandError
from services.cli.stretch import read_until
from services.kafka.errors import brief, no_topic
from services.kafka.options import BrokerError, kafka_options
from services.kafka.patches import header_names
from services.runtime.settings import Settings
from services.store.operators import action
from services.store.ports import Store
from services.store.rows import InboxKey
from services.transactions.arrivals import read_arrival
from services.transactions.outgoing import coordinates

MARGIN: Final = 3_600 * SECOND
"""How far before the last event that the database knows, at first: records are found by the time that their
producers gave them, whose clocks differ, and that event may have waited long in Kafka. So the records before
the places that are found are looked up, and it is doubled while the database does not know them. What is
taken in already counts once, so it may be much."""
DEADLINE: Final = 30.0
"""Seconds for what is asked of the broker each time."""


class Span(msgspec.Struct, frozen=True):
    """When the last event that the database knows came, how far back to go from there, and how far at most,
    since earlier ones are not remembered (µs)."""

    newest: int
    since: int
    oldest: int

    @property
    def wider(self) -> Span:
        """Twice as far back, as far as it may be."""
        back = max(MARGIN, 2 * (self.newest - self.since))
        return msgspec.structs.replace(self, since=max(self.oldest, self.newest - back))


class Place(msgspec.Struct, frozen=True):
    """One partition: where the group stands, and where it goes. None: it has read nothing, and begins at the
    beginning."""

    partition: TopicPartition
    stands: int | None
    goes: int

    @property
    def again(self) -> int:
        """So many records come once more; the group is never moved forward."""
        return 0 if self.stands is None else max(0, self.stands - self.goes)

    @property
    def next(self) -> int:
        """The first record that comes; those before it do not."""
        return 0 if self.stands is None else min(self.stands, self.goes)


class Found(msgspec.Struct, frozen=True):
    """`missed`: the database does not know all that came before these places, however far back they are."""

    span: Span
    places: list[Place]
    missed: bool


async def rewind(settings: Settings, out: Console, *, to: str, go: bool, why: str) -> None:
    """Tell how many records would come once more, or (with `go`) make it so. Safe to run twice."""
    if not settings.kafka:
        raise CommandError("LIVECARD_KAFKA is not set, so there is no consumer group to set back")
    check_meant(settings)
    act = acting(why)
    async with opened_store(settings) as store:
        asked = await _span(store, settings, to, out)
        found = await _move(settings, store, asked, go=go)
        again = sum(each.again for each in found.places)
        since = format_rfc3339(found.span.since)
        if found.span != asked:
            out.print(f"Kafka has events from before that which the database does not know: from {since} on")
        if found.missed:
            out.print(
                f"events from before {since} are lost, or not remembered any more (LIVECARD_KEEP_INBOX): the "
                "database does not know all of them"
            )
        for each in found.places:
            if each.again:
                out.print(f"{each.again:8} of partition {each.partition.partition}, from offset {each.goes}")
        if not again:
            out.print("the group stands before that moment already: nothing is to be done")
        elif not go:
            out.print(f"nothing was changed; run it again with --go, and {again} records come once more")
        else:
            async with store.transaction() as tx:
                await tx.note([action(act, "rewind", said=f"{again} records from {since} on")])
            out.print(f"{again} records come once more: start the lifecycles, the rest once they lag no more")


async def _span(store: Store, settings: Settings, to: str, out: Console) -> Span:
    """How far to go back. Raises `CommandError` for a time that the inbox does not reach back to."""
    newest = await store.newest_event()
    if newest is None:
        out.print("the database knows no event: from the beginning")
        return Span(0, 0, 0)
    since = _time(to) if to else newest - MARGIN
    oldest = newest - round(settings.keep_inbox * SECOND)
    if since < oldest:
        raise CommandError(
            f"events from before {format_rfc3339(oldest)} are not remembered any more (LIVECARD_KEEP_INBOX) "
            "and would count again: name a later time by --to"
        )
    known = f"the last event that the database knows came at {format_rfc3339(newest)}"
    out.print(known + f": from {format_rfc3339(since)} on" if to else f"{known}: from an hour before it on")
    return Span(newest, since, oldest)


def _time(text: str) -> int:
    try:
        return parse_rfc3339(text.strip())
    except ValueError:
        raise CommandError(f"--to: {text!r} is not a time such as 2026-11-28T18:00:00+08:00") from None


async def _move(settings: Settings, store: Store, span: Span, *, go: bool) -> Found:
    """Find each partition's first record of that moment or later, and let the group stand there. Raises
    `CommandError` while a lifecycle is in the group, `BrokerError` where the broker cannot be asked."""
    topics = Topics(settings.topic_prefix)
    header_names.install()
    consumer = AIOKafkaConsumer(
        **kafka_options(settings),
        group_id=topics.lifecycle_group,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    try:
        async with asyncio.timeout(DEADLINE):
            await consumer.start()
        found = await _found(consumer, topics.events, store, span, settings.batch)
        async with asyncio.timeout(DEADLINE):
            back = {each.partition: each.goes for each in found.places if each.again}
            if go and back:
                await consumer.commit(back)
    except (CommitFailedError, UnknownMemberIdError):  # of a stranger while the group has members
        raise CommandError(
            f"the group {topics.lifecycle_group} is at work: stop every lifecycle first (one that was killed "
            f"is in the group for {settings.kafka_session:g} s more)"
        ) from None
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(f"cannot set the group back at {settings.kafka}: {brief(error)}") from error
    finally:
        await consumer.stop()
    return found


async def _found(consumer: AIOKafkaConsumer, topic: str, store: Store, span: Span, batch: int) -> Found:
    """The places, so far back that the database knows what was before them."""
    while True:
        async with asyncio.timeout(DEADLINE):
            places = await _places(consumer, topic, span.since)
        missed = await _misses(consumer, places, store, batch)
        if not missed or span.since <= span.oldest:
            return Found(span, places, missed)
        span = span.wider


async def _misses(consumer: AIOKafkaConsumer, places: list[Place], store: Store, batch: int) -> bool:
    """Whether the database does not know one of the last records before these places. A lifecycle takes a
    partition in by batches, in order: where all of as many as a batch are known, so are those before them."""
    ends = {each.partition: each.next for each in places}
    async with asyncio.timeout(DEADLINE):
        begins = await consumer.beginning_offsets([*ends])
    for partition, end in ends.items():
        consumer.seek(partition, max(begins[partition], end - batch))
    async for records in read_until(consumer, ends, batch):
        if not await _known(store, records):
            return True
    return False


async def _known(store: Store, records: list[Any]) -> bool:
    """Whether all of these were taken in: by their id, or by their coordinates where it was of no use."""
    keys = []
    for raw in records:
        record = Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers))
        keys.append({read_arrival(record).key, InboxKey("", coordinates(record))})
    outcomes = await store.outcomes([key for either in keys for key in either])
    return all(either & outcomes.keys() for either in keys)


async def _places(consumer: AIOKafkaConsumer, topic: str, since: int) -> list[Place]:
    await consumer._client.force_metadata_update()  # noqa: SLF001 (a fresh client has not asked yet)
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise CommandError(no_topic(topic))
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(0, since // 1000)))
    return [
        Place(each, await consumer.committed(each), at.offset if (at := found[each]) else ends[each])
        for each in partitions
    ]
