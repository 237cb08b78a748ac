"""How fast one `livecard lifecycle` process takes completions in, next to a bare loop.

`python -m benchmarks.ingest [--events N] [--activities N] [--batch N]` starts Apache Kafka and
PostgreSQL with durable settings on this machine, fills the topic, and times each competitor alone:
from the first completion taken in to the last. Everything shares the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer

from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from scripts.engines import Kafka, Postgres
from services.runtime.settings import Settings

LIVECARD = Path(sys.executable).with_name("livecard")


def events(total: int, activities: int) -> Iterator[tuple[str, bytes]]:
    """(key, value): every activity opened for everyone, then completions, round and round."""
    now = time.time_ns() // 1_000
    envelope = {"specversion": "1.0", "source": "/bench", "time": format_rfc3339(now)}
    opened = {"appid": "wx1", "template": "complete", "choose": "everyone"}
    opened["expires_at"] = format_rfc3339(now + 86_400 * SECOND)
    for place in range(activities):
        name = f"activity-{place:06}"
        event = {**envelope, "id": f"o-{place}", "type": "livecard.activity.opened", "subject": name}
        yield name, msgspec.json.encode({**event, "data": opened})
    for place in range(total):
        name = f"activity-{place % activities:06}"
        event = {**envelope, "id": f"c-{place}", "type": "livecard.participant.completed", "subject": name}
        yield name, msgspec.json.encode({**event, "data": {"members": [f"member-{place // activities:06}"]}})


async def fill(kafka: str, topic: str, records: list[tuple[str, bytes]]) -> None:
    """Produce all, as fast as the broker takes them."""
    producer = AIOKafkaProducer(bootstrap_servers=[kafka], linger_ms=20, max_batch_size=256 << 10)
    await producer.start()
    for start in range(0, len(records), 10_000):
        sent = [
            await producer.send(topic, value, key=key.encode())
            for key, value in records[start : start + 10_000]
        ]
        await asyncio.gather(*sent)
    await producer.stop()


async def poll(connection: asyncpg.Connection[Any], query: str, enough: Callable[[int], bool]) -> int:
    """Ask until it is enough; the number then."""
    while True:
        count = int(await connection.fetchval(query))
        if enough(count):
            return count
        await asyncio.sleep(0.05)


class Run:
    """One competitor's topics and database."""

    def __init__(self, name: str, kafka: Kafka, postgres: Postgres, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.bootstrap = kafka.bootstrap
        self.database = postgres.url(f"bench_{name}")
        self.dsn = self.database.replace("+asyncpg", "")
        self.admin = postgres.url("postgres").replace("+asyncpg", "")
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LIVECARD_")},
            "LIVECARD_KAFKA": self.bootstrap,
            "LIVECARD_DATABASE": self.database,
            "LIVECARD_TOPIC_PREFIX": f"{name}.",
            "LIVECARD_HTTP": "127.0.0.1:18081",
            "LIVECARD_BATCH": str(options.batch),
        }

    async def prepare(self) -> None:
        """Database, tables, topics."""
        connection = await asyncpg.connect(self.admin)
        await connection.execute(f'CREATE DATABASE "bench_{self.name}"')
        await connection.close()
        init = await asyncio.create_subprocess_exec(
            LIVECARD, "init", env=self.env, stdout=asyncio.subprocess.DEVNULL
        )
        if await init.wait():
            raise SystemExit("livecard init failed")

    async def livecard(self, *, until: int) -> dict[str, Any]:
        """Run a lifecycle process until `until` events are applied; the rate beyond the opened ones."""
        process = await asyncio.create_subprocess_exec(LIVECARD, "lifecycle", env=self.env)
        connection = await asyncpg.connect(self.dsn)
        applied = "SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'events.applied'"
        outbox = "SELECT count(*) FROM outbox"
        try:
            first_count = await poll(connection, applied, lambda count: count >= self.options.activities)
            first = time.perf_counter()
            await poll(connection, applied, lambda count: count >= until)
            rate = (until - first_count) / (time.perf_counter() - first)
            left = await connection.fetchval(outbox)
            began = time.perf_counter()
            await poll(connection, outbox, lambda count: count == 0)
            caught_up = time.perf_counter() - began
            return {"rate": rate, "outbox_left": left, "relay_caught_up_after": caught_up}
        finally:
            process.terminate()
            await process.wait()  # its sessions tell what they did when they end
            await connection.close()

    async def updates(self) -> tuple[int, int]:
        """How many rows of `activities` were updated, and how many of them without touching an index."""
        connection = await asyncpg.connect(self.dsn)
        counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'activities'"
        row = await connection.fetchrow(counts)
        await connection.close()
        return int(row["n_tup_upd"]), int(row["n_tup_hot_upd"])


async def measure(kafka: Kafka, postgres: Postgres, options: argparse.Namespace) -> None:
    """Both, one after the other; prints what was measured."""
    records = list(events(options.events, options.activities))
    ours, bare = Run("livecard", kafka, postgres, options), Run("bare", kafka, postgres, options)
    for run in (ours, bare):
        await run.prepare()
    await fill(kafka.bootstrap, Topics("livecard.").events, records)
    got = await ours.livecard(until=len(records))
    updated, heap_only = await ours.updates()
    # The bare loop knows completions only: its activities are opened by livecard beforehand.
    await fill(kafka.bootstrap, Topics("bare.").events, records[: options.activities])
    await bare.livecard(until=options.activities)
    await fill(kafka.bootstrap, Topics("bare.completions.").events, records[options.activities :])
    arguments = [
        kafka.bootstrap,
        bare.dsn,
        Topics("bare.completions.").events,
        str(options.events),
        str(options.batch),
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bare_loop", *arguments, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    peer = json.loads(printed)["rate"]
    print(
        f"{options.events:,} completions over {options.activities:,} activities, batches of {options.batch}"
    )
    print(f"livecard lifecycle: {got['rate']:10,.0f} completions/s, relay of the changes included")
    print(f"bare loop:          {peer:10,.0f} completions/s")
    print(f"ratio:              {got['rate'] / peer:10.2f}")
    print(f"{updated:,} updates of activities, {heap_only:,} of them ({heap_only / updated:.0%}) heap-only")
    print(
        f"when the last was in, {got['outbox_left']:,} changes were not published yet; "
        f"they were {got['relay_caught_up_after']:.1f} s later"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--activities", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=Settings().batch)
    options = parser.parse_args()
    # The bare loop's own topic is made by the broker at its first record.
    settings = {"auto.create.topics.enable": "true", "num.partitions": "8"}
    with Kafka(heap_mb=512, fast_start=False, settings=settings) as kafka, Postgres(durable=True) as postgres:
        asyncio.run(measure(kafka, postgres, options))


if __name__ == "__main__":
    main()
