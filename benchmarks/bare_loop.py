"""The peer of ingest: the same reads and the same SQL in a bare loop, without our code.

One process: getmany, decode, one transaction per batch with the very statements of the store, commit
the offsets. No state machine, no outcomes, no dead letters, no relay, no health. Run by `ingest`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer

from services.store import statements
from services.store.dialect import Dialect
from services.store.rows import shard_of


class Data(msgspec.Struct):
    """What a completion says."""

    members: list[str]


class Envelope(msgspec.Struct):
    """A CloudEvent."""

    id: str
    source: str
    subject: str
    data: Data


DECODE = msgspec.json.Decoder(Envelope).decode
NAMED = ("now", "admit", "lock", "members", "progress", "upsert_members", "outbox", "counters")


def positional(name: str) -> tuple[str, tuple[str, ...]]:
    """A statement of the store with asyncpg's `$1`, and its parameters' names in order."""
    statement = Dialect(postgres=True).statement(name, statements.TRANSACTION[name])
    text, names = statement.clause.text, statement.columns or (("ids",) if name == "lock" else ())
    for place, parameter in sorted(enumerate(names, 1), key=lambda each: -len(each[1])):
        text = text.replace(f":{parameter} ", f"${place} ").replace(f"(:{parameter})", f"(${place})")
    return text, names


SQL = {name: positional(name)[0] for name in NAMED}


async def batch(connection: asyncpg.Connection[Any], events: list[Envelope]) -> None:
    """One transaction."""
    keys = sorted((event.source, event.id, event.subject) for event in events)
    async with connection.transaction():
        new = {
            (row[0], row[1])
            for row in await connection.fetch(SQL["admit"], *map(list, zip(*keys, strict=True)))
        }
        fresh = [event for event in events if (event.source, event.id) in new]
        rows = await connection.fetch(SQL["lock"], sorted({event.subject for event in fresh}))
        now = await connection.fetchval(SQL["now"])
        activities = {}
        for row in rows:  # a first revision makes the card due; later ones change nothing about that
            since, due = row["behind_since"], max(row["retry_at"], row["look_at"])
            waits = (row["retry_at"], due, since) if since else (now, max(now, row["look_at"]), now)
            activities[row["activity_id"]] = [row["done"], row["revision"], *waits]
        pairs = sorted({(event.subject, member) for event in fresh for member in event.data.members})
        known = {
            (row[0], row[1])
            for row in await connection.fetch(SQL["members"], *map(list, zip(*pairs, strict=True)))
        }
        members, outbox = [], []
        for event in fresh:
            row = activities[event.subject]
            for member in event.data.members:
                if (event.subject, member) not in known:
                    members.append((event.subject, member, "done", False, now))
                    row[0] += 1
            row[1] += 1
            body = json.dumps({"type": "livecard.participant.done", "data": {"members": event.data.members}})
            outbox.append((event.subject, "changes", event.id, body, shard_of(event.subject), now))
        updates = [(name, *row) for name, row in activities.items()]
        await connection.execute(SQL["progress"], *map(list, zip(*updates, strict=True)))
        await connection.execute(SQL["upsert_members"], *map(list, zip(*members, strict=True)))
        await connection.execute(SQL["outbox"], *map(list, zip(*outbox, strict=True)))
        counters = [(0, "events.applied", len(fresh)), (0, "events.taken", len(fresh))]
        await connection.execute(SQL["counters"], *map(list, zip(*counters, strict=True)))


async def main(kafka: str, dsn: str, topic: str, total: int, size: int) -> None:
    """Consume `total` completions; prints events per second as JSON."""
    connection = await asyncpg.connect(dsn)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=[kafka],
        group_id=f"{topic}-bare",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    taken, began = 0, 0.0
    while taken < total:
        records = await consumer.getmany(timeout_ms=1000, max_records=size)
        events = [DECODE(record.value) for part in records.values() for record in part]
        if not events:
            continue
        began = began or time.perf_counter()
        await batch(connection, events)
        await consumer.commit()
        taken += len(events)
    print(json.dumps({"rate": taken / (time.perf_counter() - began)}))
    await consumer.stop()
    await connection.close()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
