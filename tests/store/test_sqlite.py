"""What SQLite alone does: one writer at a time, a file that two processes make."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from services.store import statements
from services.store.dialect import Dialect
from services.store.open import migrate, open_store
from services.store.ports import StoreRejected, StoreUnavailable
from services.store.rows import Writes


async def test_migrating_twice_and_two_at_once(sqlite_database: str) -> None:
    """The second finds nothing to do; WAL stays on."""
    program = (
        "import asyncio, sys; from services.store.open import migrate; asyncio.run(migrate(sys.argv[1]))"
    )
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, sqlite_database) for _ in range(3)
    ]
    assert [await process.wait() for process in started] == [0, 0, 0]
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    await store.ping()
    await store.close()


async def test_an_unmigrated_file_is_told_with_what_to_do(sqlite_database: str) -> None:
    """From every side: the text names the command."""
    store = await open_store(sqlite_database)
    for attempt in (store.ping, lambda: store.next_due(), lambda: _see(store)):
        with pytest.raises(StoreUnavailable, match="livecard init"):
            await attempt()
    await store.close()


async def _see(store: Any) -> None:
    async with store.transaction() as tx:
        await tx.lock(["a"])


async def test_readers_do_not_wait_for_the_writer(sqlite_database: str) -> None:
    """WAL: the clock's question and `show` go on while a batch is written, and see what was committed."""
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    async with store.transaction() as tx:
        await tx.lock(["a"])
        assert await store.show("a") is None
        assert await store.next_due() is None
    assert await store.show("a") is not None
    await store.close()


async def test_a_writer_waits_for_the_other_process(sqlite_database: str) -> None:
    """BEGIN IMMEDIATE with a busy timeout: nobody fails halfway for want of the lock."""
    await migrate(sqlite_database)
    stores = [await open_store(sqlite_database, slot=n) for n in range(3)]

    async def add(store: Any) -> None:
        async with store.transaction() as tx:
            await tx.write(Writes(counters={"x": 1}))

    await asyncio.gather(*(add(store) for store in stores * 10))
    assert (await stores[0].totals())[0] == {"x": 30}
    for store in stores:
        await store.close()


async def test_a_lock_that_is_never_given_back_is_unavailable(sqlite_database: str) -> None:
    """A process frozen inside its transaction: a documented limit, told as what it is."""
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    async with store.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=50")
    other = sqlite3.connect(sqlite_database.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await _see(store)
    other.execute("ROLLBACK")
    other.close()
    await _see(store)
    await store.close()


async def test_a_connection_that_is_cut_off_halfway_gives_its_lock_back(sqlite_database: str) -> None:
    """Though somebody still holds the cursor, as the traceback of a cancelled task does."""
    await migrate(sqlite_database)
    store, other = await open_store(sqlite_database), await open_store(sqlite_database)
    async with other.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=50")
    async with store.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.execute("BEGIN IMMEDIATE")
        await raw.execute("INSERT INTO relays VALUES ('a', 0), ('b', 0)")
        cursor = await raw.execute("SELECT owner FROM relays")
        assert await cursor.fetchone()
        await connection.invalidate()
        await _see(other)
        del cursor
    await store.close()
    await other.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """And is left alone."""
    path = tmp_path / "store.sqlite3"
    path.write_text("something else entirely" * 100)
    store = await open_store(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await store.close()
    assert path.read_text().startswith("something")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@h/d",
        "sqlite:///x",
        "postgresql://u:hidden@h/d",
        "nonsense",
        "postgresql+asyncpg://u:p@h:hidden/d",
        "postgresql+asyncpg://u:hidden@[::1/d",
        "postgresql+asyncpg://u:hidden@h/d?sslmode=bogus",
        "postgresql+asyncpg://u:p@h/d?nonsense=hidden",
    ],
)
async def test_an_url_that_is_not_ours_is_told_without_its_password(url: str) -> None:
    """What is spoken is named."""
    with pytest.raises(StoreUnavailable, match="LIVECARD_DATABASE") as caught:
        await open_store(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///", "sqlite+aiosqlite:///:memory:"]
)
async def test_a_store_in_memory_is_refused(url: str) -> None:
    """Reader and writer would each have a database of their own."""
    with pytest.raises(StoreUnavailable, match="names no file"):
        await open_store(url)


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        await open_store(f"sqlite+aiosqlite:///{tmp_path}/file/below/store.sqlite3")


async def test_half_a_character_is_rejected(sqlite_database: str) -> None:
    """A lone surrogate has no UTF-8: the data is to blame, and nothing of the transaction stays."""
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    with pytest.raises(StoreRejected):
        await _write(store, Writes(counters={"x": 1}), Writes(apps=["wx\ud800"]))
    assert (await store.totals())[0] == {}
    await _write(store, Writes(counters={"x": 1}))
    await store.close()


async def _write(store: Any, *all_writes: Writes) -> None:
    async with store.transaction() as tx:
        for writes in all_writes:
            await tx.write(writes)


async def test_the_release_before_runs_on_a_newer_schema_but_does_not_migrate_it(
    sqlite_database: str,
) -> None:
    """Migrations add first, so a rolling deploy (or its way back) stays ready; only `init` refuses."""
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    async with store.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await store.ping()
    with pytest.raises(StoreUnavailable, match="newer release"):
        await migrate(sqlite_database)
    await store.close()


TABLES = "activities|a|c|inbox|attempts|parked|members"
FREQUENT = (
    "lock_due", "unscheduled", "next_attempt", "stale_parked", "next_due", "old_activities",
    "unopened_activities",
)  # fmt: skip


@pytest.mark.parametrize("name", [*FREQUENT, "prune_inbox", "prune_attempts", "claim"])
async def test_what_is_asked_again_and_again_reads_no_whole_table(sqlite_database: str, name: str) -> None:
    """Some hold the one write lock meanwhile."""
    await migrate(sqlite_database)
    every = statements.TRANSACTION, statements.READS, statements.UPKEEP, statements.SQLITE
    source = next(each[name] for each in every if name in each)
    text = str(Dialect(postgres=False).statement(name, source).clause)
    connection = sqlite3.connect(sqlite_database.removeprefix("sqlite+aiosqlite:///"))
    numbers = ("limit", "before", "age", "narrow", "longest", "closing")
    values = {**dict.fromkeys(numbers, 1), "rows": "[]", "ids": "[]"}
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    connection.close()
    # An index that holds all rows is a whole table too: only partial ones may be walked.
    whole = [step for step in steps if re.match(rf"SCAN ({TABLES})\b(?!.* INDEX activities_)", step)]
    assert whole == [], steps
