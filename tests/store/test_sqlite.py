"""What SQLite alone does: one writer at a time, a file that two processes make."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from services.store.open import migrate, open_store
from services.store.ports import StoreUnavailable
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
    for attempt in (store.ping, lambda: store.candidates(1, 1), lambda: _see(store)):
        with pytest.raises(StoreUnavailable, match="livecard init"):
            await attempt()
    await store.close()


async def _see(store: Any) -> None:
    async with store.transaction() as tx:
        await tx.lock(["a"])


async def test_readers_do_not_wait_for_the_writer(sqlite_database: str) -> None:
    """WAL: a sweep and `show` go on while a batch is written, and see what was committed."""
    await migrate(sqlite_database)
    store = await open_store(sqlite_database)
    async with store.transaction() as tx:
        await tx.lock(["a"])
        assert await store.show("a") is None
        assert await store.candidates(1, 1) == []
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
    "url", ["mysql://u:hidden@h/d", "sqlite:///x", "postgresql://u:hidden@h/d", "nonsense"]
)
async def test_an_url_that_is_not_ours_is_told_without_its_password(url: str) -> None:
    """What is spoken is named."""
    with pytest.raises(StoreUnavailable, match="LIVECARD_DATABASE") as caught:
        await open_store(url)
    assert "hidden" not in str(caught.value)
