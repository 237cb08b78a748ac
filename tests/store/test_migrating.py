"""Changing the schema while others use it."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from scripts.patience import PATIENCE
from services.store import migrating
from services.store.migrating import ADVISORY_LOCK, NEEDED, NEWEST
from services.store.open import migrate, open_store
from services.store.ports import StoreUnavailable
from services.store.rows import Writes
from tests.engines.support import administer, sibling

OF_OLDER = {"activities_behind", "activities_behind_expiry", "activities_ready", "activities_stranded"}
OF_TODAY = {"activities_attempt", "activities_unscheduled", "activities_not_in_sync"}
SECOND_INIT = """
import asyncio, sys
from services.store.open import migrate
asyncio.run(migrate(sys.argv[1], wait=600, tell=lambda what: print(what, flush=True)))
"""
FIND_INDEXES = {
    True: "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()",
    False: "SELECT name FROM sqlite_master WHERE type = 'index'",
}


async def _first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema as the first release made it."""
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "NEWEST", "0001")
        assert await migrate(url) == "0001"


async def _indexes(url: str) -> set[str]:
    store = await open_store(url)
    async with store.engine.connect() as connection:
        found = await connection.exec_driver_sql(FIND_INDEXES["postgres" in url])
        names = {row[0] for row in found}
    await store.close()
    return names & (OF_OLDER | OF_TODAY)


@pytest.fixture
async def watcher(postgres_database: str) -> AsyncIterator[Any]:
    """A connection of somebody else's."""
    connection = await asyncpg.connect(postgres_database.replace("+asyncpg", ""))
    yield connection
    await connection.close()


async def test_an_empty_database_gets_everything_at_once(store_url: str) -> None:
    """No other release can be at work there."""
    assert await migrate(store_url) == NEWEST
    assert await _indexes(store_url) == OF_TODAY


async def test_what_the_release_before_needs_stays_until_it_is_said_to_be_gone(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Add first, take away later; a plain `init` afterwards goes no way back."""
    await _first(store_url, monkeypatch)
    assert await migrate(store_url) == NEEDED
    assert await _indexes(store_url) == OF_OLDER | OF_TODAY
    assert await migrate(store_url, finish=True) == NEWEST
    assert await _indexes(store_url) == OF_TODAY
    assert await migrate(store_url) == NEWEST


async def test_this_release_does_not_start_on_the_schema_before(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says where the schema is and what to run."""
    await _first(store_url, monkeypatch)
    store = await open_store(store_url)
    with pytest.raises(StoreUnavailable, match=rf"livecard init.*it is at 0001, needed is {NEEDED}"):
        await store.ping()
    await migrate(store_url)
    await store.ping()
    await store.close()


async def test_nobody_is_sent_after_an_end_that_the_release_before_called_in_doubt(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is still tried or was given up; what was not called, or is not doubted, may go on."""
    await _first(store_url, monkeypatch)
    ended = {"state": "ended", "shown": 1, "end_known_at": 5, "suspect_at": 6, "attempts": 0, "verdict": ""}
    rows = {
        "tried": {**ended, "attempts": 1},
        "given up": {**ended, "verdict": "rejected"},
        "lapsed": ended,
        "doubted before": {**ended, "attempts": 1, "suspect_at": 4},
        "true": {**ended, "attempts": 1, "suspect_at": None},
        "shown": {**ended, "attempts": 1, "shown": 3},
        "open": {**ended, "attempts": 1, "state": "open", "end_known_at": None},
    }
    store = await open_store(store_url)
    async with store.engine.begin() as connection:
        for name, row in rows.items():
            columns = {"activity_id": name, "seen_at": 0, **row}
            names = ", ".join(columns)
            places = ", ".join(f":{each}" for each in columns)
            await connection.execute(text(f"INSERT INTO activities ({names}) VALUES ({places})"), columns)
    await store.close()
    await migrate(store_url)
    store = await open_store(store_url)
    async with store.engine.connect() as connection:
        marked = await connection.execute(text("SELECT activity_id FROM activities WHERE failing_since = 0"))
        assert {row[0] for row in marked} == {"tried", "given up"}
        called = await connection.execute(text("SELECT activity_id FROM activities WHERE may_show = 3"))
        assert {row[0] for row in called} == {"tried", "given up"}
    await store.close()


async def test_migrations_of_one_process_take_turns(tmp_path: Path) -> None:
    """Alembic's context is a global: even of different databases, two at once would share it."""
    urls = [f"sqlite+aiosqlite:///{tmp_path}/{n}.sqlite3" for n in range(4)]
    assert await asyncio.gather(*map(migrate, urls)) == [NEWEST] * 4
    assert [await _indexes(url) for url in urls] == [OF_TODAY] * 4


async def test_building_an_index_waits_for_old_transactions_and_blocks_no_new_one(
    postgres_database: str, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction of somebody's, an `init` behind it, a second `init`, and writers all the while."""
    await _first(postgres_database, monkeypatch)
    store = await open_store(postgres_database)
    old = watcher.transaction()
    await old.start()
    await watcher.execute("INSERT INTO activities (activity_id, seen_at) VALUES ('held', 0)")
    init = asyncio.create_task(migrate(postgres_database))
    await _until(store, "SELECT count(*) FROM pg_stat_progress_create_index")
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SECOND_INIT, postgres_database, stdout=asyncio.subprocess.PIPE
    )
    assert second.stdout is not None
    assert b"waiting: another session migrates this database" in await second.stdout.readline()
    for round_ in range(3):
        async with store.transaction() as tx:
            await tx.write(Writes(counters={"x": 1}))
        async with store.engine.begin() as connection:
            insert = "INSERT INTO activities (activity_id, seen_at) VALUES (:name, 0)"
            await connection.execute(text(insert), {"name": f"new{round_}"})
    assert not init.done()
    await old.commit()
    assert (await init, await second.wait()) == (NEEDED, 0)
    await store.close()


async def test_a_table_that_stays_locked_does_not_put_writers_in_a_queue_for_long(
    postgres_database: str, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change gives up its place, is tried again, and says in the end what is in its way."""
    await _first(postgres_database, monkeypatch)
    monkeypatch.setattr(migrating, "TRIES", 2)
    monkeypatch.setattr(migrating, "PAUSE", 0.01)
    async with watcher.transaction():
        await watcher.execute("LOCK TABLE inbox IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="stayed locked"):
            await migrate(postgres_database)
    assert await migrate(postgres_database) == NEEDED


async def test_an_index_whose_building_was_interrupted_is_made_anew(
    postgres_database: str, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL leaves it behind as invalid: kept up by every writer, read by nobody."""
    await _first(postgres_database, monkeypatch)
    await watcher.execute(
        "CREATE INDEX activities_ready ON activities (appid); "
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'activities_ready'::regclass"
    )
    await migrate(postgres_database)
    made = await watcher.fetchval("SELECT pg_get_indexdef('activities_ready'::regclass)")
    assert "retry_at" in made
    assert await watcher.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


async def test_who_holds_the_migrations_lock_is_told_and_not_waited_for_without_end(
    postgres_database: str, watcher: Any
) -> None:
    """A job that was killed leaves its connection half open, for hours."""
    await watcher.execute("SET application_name = 'a job that was killed'")
    await watcher.execute(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
    pid, heard = watcher.get_server_pid(), list[str]()
    with pytest.raises(StoreUnavailable, match=rf"pg_terminate_backend\({pid}\). Nothing is changed"):
        await migrate(postgres_database, wait=1.0, tell=heard.append)
    (line,) = heard
    assert f"pid {pid} (a job that was killed from 127.0.0.1), since 2" in line
    await watcher.execute(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})")
    assert await migrate(postgres_database) == NEWEST


async def test_a_database_that_is_not_utf_8_is_refused_with_the_command_that_makes_one(
    postgres_url: str,
) -> None:
    """Chinese and emoji would become dead letters."""
    name = f"latin{uuid.uuid4().hex}"
    make = f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    await administer(postgres_url, make + " LOCALE_PROVIDER libc")
    url = sibling(postgres_url, name)
    try:
        with pytest.raises(StoreUnavailable, match=r"LATIN1.*CREATE DATABASE livecard ENCODING 'UTF8'"):
            await migrate(url)
        store = await open_store(url)
        with pytest.raises(StoreUnavailable, match="not migrated"):
            await store.ping()
        async with store.engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
            await connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{NEWEST}')")
        with pytest.raises(StoreUnavailable, match="LATIN1"):
            await store.ping()
        await store.close()
    finally:
        await administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _until(store: Any, query: str) -> None:
    async with asyncio.timeout(PATIENCE), store.engine.connect() as connection:
        while not (await connection.exec_driver_sql(query)).scalar_one():
            await connection.rollback()
