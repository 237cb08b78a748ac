"""`livecard rewind`: after the database was restored from a backup, Kafka's events come once more."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, UnknownMemberIdError
from rich.console import Console

from contracts.times import SECOND, format_rfc3339, parse_rfc3339
from contracts.topics import Topics
from services.cli.acting import acting
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.kafka.errors import brief, no_topic
from services.kafka.options import BrokerError, kafka_options
from services.runtime.settings import Settings
from services.store.operators import action
from services.store.ports import Store

MARGIN: Final = 3_600 * SECOND
"""How far before the last event that the database knows: records are found by the time that their producers
gave them, whose clocks differ. What is taken in already counts once, so it may be much."""
DEADLINE: Final = 30.0
"""Seconds for everything that is asked of the broker."""


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


async def rewind(settings: Settings, out: Console, *, to: str, go: bool, why: str) -> None:
    """Tell how many records would come once more, or (with `go`) make it so. Safe to run twice."""
    if not settings.kafka:
        raise CommandError("LIVECARD_KAFKA is not set, so there is no consumer group to set back")
    act = acting(why)
    async with opened_store(settings) as store:
        since = await _since(store, settings, to, out)
        places = await _move(settings, since, go=go)
        again = sum(each.again for each in places)
        for each in places:
            if each.again:
                out.print(f"{each.again:8} of partition {each.partition.partition}, from offset {each.goes}")
        if not again:
            out.print("the group stands before that moment already: nothing is to be done")
        elif not go:
            out.print(f"nothing was changed; run it again with --go, and {again} records come once more")
        else:
            said = f"{again} records from {format_rfc3339(since)} on"
            async with store.transaction() as tx:
                await tx.note([action(act, "rewind", said=said)])
            out.print(f"{again} records come once more: start the lifecycles, the rest once they lag no more")


async def _since(store: Store, settings: Settings, to: str, out: Console) -> int:
    """The moment to go back to (µs). Raises `CommandError` for one that the inbox does not reach back to."""
    newest = await store.newest_event()
    if newest is None:
        out.print("the database knows no event: from the beginning")
        return 0
    since = _time(to) if to else newest - MARGIN
    oldest = newest - round(settings.keep_inbox * SECOND)
    if since < oldest:
        raise CommandError(
            f"events from before {format_rfc3339(oldest)} are not remembered any more (LIVECARD_KEEP_INBOX) "
            "and would count again: name a later time by --to"
        )
    known = f"the last event that the database knows came at {format_rfc3339(newest)}"
    out.print(known + f": from {format_rfc3339(since)} on" if to else f"{known}: from an hour before it on")
    return since


def _time(text: str) -> int:
    try:
        return parse_rfc3339(text.strip())
    except ValueError:
        raise CommandError(f"--to: {text!r} is not a time such as 2026-11-28T18:00:00+08:00") from None


async def _move(settings: Settings, since: int, *, go: bool) -> list[Place]:
    """Find each partition's first record of that moment or later, and let the group stand there. Raises
    `CommandError` while a lifecycle is in the group, `BrokerError` where the broker cannot be asked."""
    topics = Topics(settings.topic_prefix)
    consumer = AIOKafkaConsumer(
        **kafka_options(settings), group_id=topics.lifecycle_group, enable_auto_commit=False
    )
    try:
        async with asyncio.timeout(DEADLINE):
            await consumer.start()
            places = await _places(consumer, topics.events, since)
            back = {each.partition: each.goes for each in places if each.again}
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
    return places


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
