"""The database is lost, and restored from a backup taken a minute before (docs/operations.md)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from contracts.changes import decode_change
from contracts.topics import Topics
from scripts.engines.postgres import binaries
from scripts.patience import PATIENCE
from tests.e2e.line import Line, a_line, until
from tests.engines.support import administer, sibling

SERVICES = ("lifecycle", "clock", "dispatcher")
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


async def test_a_restored_database_hears_of_the_lost_minute_again(line: Line, tmp_path: Path) -> None:
    """Nothing is lost: every event has the outcome that it had. WeChat is called again for what the backup
    does not know, and for nothing else; `activity.changes` tells again, mostly under the ids of before."""
    await line.start(*SERVICES)
    for name in ("a-1", "a-2", "a-3"):
        line.declare(name, ["gp-1", "gp-2"])
    first = line.completed("a-1", "gp-1")
    await line.send(line.opened("a-1", ["gp-1", "gp-2"]), first, line.opened("a-2", ["gp-1", "gp-2"]))
    await until(lambda: "gp-1" in line.card("a-1").posts, "the card shows the first one")
    await line.settled()
    await postgres("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", plain(line.database))

    before = await the_minute(line)
    told = await changes_told(line)
    for service in line.services:
        assert await service.terminate() == 0
    await restore(line.database, tmp_path / "backup")
    forgotten = await line.ledger()
    assert forgotten["events"]["taken"] == 3, "the backup knows of three"

    (lifecycle,) = await line.start("lifecycle")
    code, printed = await line.run("rewind", "--go")
    assert (code, "stop every lifecycle first" in printed) == (1, True), printed
    assert await lifecycle.terminate() == 0
    assert await line.ledger() == forgotten, "the group stands behind the lost minute, so it never comes"

    code, printed = await line.run("rewind")
    assert (code, "nothing was changed" in printed) == (0, True), printed
    code, printed = await line.run("rewind", "--go", "--why", "the disk died")
    assert (code, "records come once more" in printed) == (0, True), printed
    code, printed = await line.run("rewind", "--go")
    assert (code, "nothing is to be done" in printed) == (0, True), printed
    assert "the disk died" in (await line.run("actions"))[1]

    await line.start("lifecycle")
    await until(lambda: as_before(line, before), "every event counts as it did")
    await line.start("clock", "dispatcher")
    ledger = await line.settled()
    assert ledger["events"]["dead"] == before["events"]["dead"] == 1
    assert line.card("a-1").posts == {"gp-1": 1, "gp-2": 2}, "told before the backup: not again"
    assert line.card("a-2").target_state == 3
    assert line.card("a-3").posts == {"gp-1": 2}
    again = await changes_told(line, enough=sum(told.values()) + 1)
    assert not any(key.startswith(("a-1:failed", "a-2:failed", "a-3:failed")) for key in again), again
    assert {key for key in again if ":done:" in key} == {key for key in told if ":done:" in key}


async def the_minute(line: Line) -> dict[str, Any]:
    """What happens after the backup, all of it told; the ledger."""
    await line.send(
        line.completed("a-1", "gp-2"),
        line.opened("a-3", ["gp-1"]),
        line.completed("a-3", "gp-1"),
        line.event("activity.closed", "a-2", {}),
    )
    await line.producer.send_and_wait(Topics(line.prefix).events, b"{]", key=b"a-1")
    await until(lambda: "gp-2" in line.card("a-1").posts, "the second one is told")
    await until(lambda: "gp-1" in line.card("a-3").posts, "the new activity is told")
    await until(lambda: line.card("a-2").target_state == 3, "the end is told")
    await until(lambda: dead(line), "the dead letter is counted")
    return await line.settled()


async def dead(line: Line) -> bool:
    """Whether the ledger has the letter."""
    return bool((await line.ledger())["events"]["dead"])


async def as_before(line: Line, before: dict[str, Any]) -> bool:
    """Whether events count as they did, repeats aside."""
    events = (await line.ledger())["events"]
    return all(events[name] == count for name, count in before["events"].items() if name != "repeats")


async def changes_told(line: Line, enough: int = 0) -> Counter[str]:
    """How often each id is on `activity.changes`, once nothing waits in the outbox and it is so many."""
    consumer = AIOKafkaConsumer(
        Topics(line.prefix).changes, bootstrap_servers=line.kafka.split(","), auto_offset_reset="earliest"
    )
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                ends = await consumer.end_offsets(consumer.assignment())
                while any([await consumer.position(each) < ends[each] for each in ends]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found.update(decode_change(record.value).id for record in records)
                if found and sum(found.values()) >= enough:
                    return found
    finally:
        await consumer.stop()


async def restore(database: str, backup: Path) -> None:
    """The database is gone, and a new one has what the backup has."""
    name = database.rpartition("/")[2]
    await administer(sibling(database, "postgres"), f'DROP DATABASE "{name}" WITH (FORCE)')
    await administer(sibling(database, "postgres"), f'CREATE DATABASE "{name}"')
    await postgres("pg_restore", "--exit-on-error", f"--dbname={plain(database)}", str(backup))


def plain(url: str) -> str:
    """As PostgreSQL's own programs want it."""
    return url.replace("postgresql+asyncpg://", "postgresql://")


async def postgres(program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs."""
    folder = binaries()
    assert folder is not None
    process = await asyncio.create_subprocess_exec(folder / program, *arguments)
    assert await process.wait() == 0
