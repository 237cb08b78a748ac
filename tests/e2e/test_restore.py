"""The database is lost, and restored from a backup taken a minute before (docs/operations.md)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from contracts.changes import decode_change
from contracts.records import Record
from contracts.times import SECOND
from contracts.topics import Topics
from scripts.engines.postgres import binaries
from scripts.patience import PATIENCE
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.rewind import rewind
from services.runtime.environment import load
from services.runtime.settings import Settings
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival, Failed
from services.transactions.ledger import Ledger, read_ledger
from statemachine.model import Rules
from tests.e2e.line import Line, a_line, until
from tests.engines.support import administer, sibling

PARTITIONS = Settings().partitions
RULES = Rules(60 * SECOND, 3_600 * SECOND)
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


async def test_a_restored_database_hears_of_the_lost_minute_again(line: Line, tmp_path: Path) -> None:
    """Nothing is lost: every event has the outcome that it had. WeChat is called again for what the backup
    does not know, and for nothing else; `activity.changes` says again who is done, under the same ids."""
    await line.start("lifecycle", "dispatcher")
    for name in ("a-1", "a-2", "a-3"):
        line.declare(name, ["gp-1", "gp-2"])
    await line.send(
        line.opened("a-1", ["gp-1", "gp-2"]), line.completed("a-1", "gp-1"), line.opened("a-2", ["gp-1"])
    )
    await until(lambda: settled(line, taken=3), "the card shows the first one")
    await postgres("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", plain(line.database))

    before = await the_minute(line)
    seen = await changes_told(line)
    await asyncio.gather(*(service.terminate() for service in line.services))
    await restore(line.database, tmp_path / "backup")

    (lifecycle,) = await line.start("lifecycle")
    with pytest.raises(CommandError, match="stop every lifecycle first"):
        await rewound(line)
    assert await lifecycle.terminate() == 0
    forgotten = await read(line)
    assert forgotten.events["taken"] == 3, "the group stands behind the lost minute, so it never comes"

    assert "nothing was changed" in await rewound(line, go=False)
    code, printed = await line.run("rewind", "--go", "--why", "the disk died")
    assert (code, "records come once more" in printed) == (0, True), printed
    assert "nothing is to be done" in await rewound(line)

    await line.start("lifecycle")
    await until(lambda: as_before(line, before), "every event counts as it did")
    await line.start("dispatcher")
    await until(lambda: settled(line, taken=before.events["taken"]), "every card is told again")
    assert line.card("a-1").posts == {"gp-1": 1, "gp-2": 2}, "told before the backup: not again"
    assert line.card("a-2").target_state == 3
    assert line.card("a-3").posts == {"gp-1": 2}
    again = await changes_told(line)
    assert again.total() > seen.total()
    assert not [key for key in again if ":failed:" in key]
    assert {key for key in again if ":done:" in key} == {key for key in seen if ":done:" in key}


async def test_a_time_that_is_none_or_too_long_ago_is_refused(line: Line) -> None:
    """Before the inbox reaches back, events would count twice."""
    assert "the group stands before that moment" in await rewound(line), "a new database knows no event"
    async with opened_store(load(line.env)) as store:
        await apply(store, [Arrival(Record("", 0, 0, None, None, ()), Failed("malformed", "", None))], RULES)
    with pytest.raises(CommandError, match="--to: 'yesterday' is not a time such as"):
        await rewound(line, to="yesterday")
    with pytest.raises(CommandError, match=r"not remembered any more \(LIVECARD_KEEP_INBOX\)"):
        await rewound(line, to="2026-01-01T00:00:00Z")


async def rewound(line: Line, *, to: str = "", go: bool = True) -> str:
    """What `livecard rewind` says."""
    said = StringIO()
    await rewind(load(line.env), Console(file=said, soft_wrap=True), to=to, go=go, why="")
    return said.getvalue()


async def the_minute(line: Line) -> Ledger:
    """What happens after the backup, all of it told; the ledger."""
    await line.send(
        line.completed("a-1", "gp-2"),
        line.opened("a-3", ["gp-1"]),
        line.completed("a-3", "gp-1"),
        line.event("activity.closed", "a-2", {}),
    )
    await line.producer.send_and_wait(Topics(line.prefix).events, b"{]", key=b"a-1")
    ledger: Ledger = await until(lambda: settled(line, taken=8), "all of the minute is told")
    assert line.card("a-1").posts == {"gp-1": 1, "gp-2": 1}
    assert line.card("a-2").target_state == 3
    return ledger


async def read(line: Line) -> Ledger:
    """The ledger, as the database has it now."""
    async with opened_store(load(line.env)) as store:
        return await read_ledger(store)


async def settled(line: Line, taken: int) -> Ledger | None:
    """The ledger once so many events are taken in, and nothing is on its way."""
    ledger = await read(line)
    return ledger if ledger.settled and ledger.events["taken"] == taken else None


async def as_before(line: Line, before: Ledger) -> bool:
    """Whether events count as they did, repeats aside."""
    events = (await read(line)).events
    return all(events[name] == count for name, count in before.events.items() if name != "repeats")


async def changes_told(line: Line) -> Counter[str]:
    """How often each id is on `activity.changes`, once nothing waits in the outbox."""
    connection = await asyncpg.connect(plain(line.database))
    try:
        await until(lambda: nothing_waits(connection), "the outbox is empty")
    finally:
        await connection.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=line.kafka.split(","))
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        places = [TopicPartition(Topics(line.prefix).changes, number) for number in range(PARTITIONS)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        async with asyncio.timeout(PATIENCE):
            while any([await consumer.position(each) < ends[each] for each in places]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.update(decode_change(record.value).id for record in records)
    finally:
        await consumer.stop()
    return found


async def nothing_waits(connection: asyncpg.Connection) -> bool:
    """Whether the outbox is empty."""
    return not await connection.fetchval("SELECT count(*) FROM outbox")


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
