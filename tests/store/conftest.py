"""Every promise is asked of the dict store, of SQLite and of PostgreSQL."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from services.store.open import migrate
from tests.engines.support import administer, run_apart, sibling
from tests.store.support import Bench, MemoryBench, PostgresBench, Scene, SqliteBench
from tests.verification.dict_store import store as dict_store


async def _prepare(url: str) -> None:
    await migrate(url)
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    await connection.execute("CREATE TABLE standing_clock (us bigint); INSERT INTO standing_clock VALUES (0)")
    await connection.close()


@contextmanager
def prepare_postgres(server: str) -> Iterator[str]:
    """The URL of a migrated database of one's own on this server, with a clock that a test moves."""
    name = f"store{uuid.uuid4().hex}"
    run_apart(administer(server, f'CREATE DATABASE "{name}"'))
    url = sibling(server, name)
    run_apart(_prepare(url))
    yield url
    run_apart(administer(server, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[str]:
    """The URL of a migrated database, shared by the tests one after the other."""
    with prepare_postgres(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("store") / "migrated.sqlite3"
    run_apart(migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """Each engine in turn, empty."""
    monkeypatch.setattr(dict_store, "LOCK_TIMEOUT", 0.3)
    made: Bench
    if request.param == "postgres":
        made = PostgresBench(request.getfixturevalue("migrated_postgres"))
    elif request.param == "sqlite":
        path = tmp_path / "store.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        made = SqliteBench(path)
    else:
        made = MemoryBench()
    await made.begin()
    yield made
    await made.close()


@pytest.fixture
async def scene(bench: Bench) -> AsyncIterator[Scene]:
    """A scene on each engine; whatever was played, the ledger balances afterwards."""
    made = Scene(bench)
    yield made
    await made.balance()


@pytest.fixture
async def postgres(migrated_postgres: str) -> AsyncIterator[PostgresBench]:
    """PostgreSQL alone, for what only it can do."""
    made = PostgresBench(migrated_postgres)
    await made.begin()
    yield made
    await made.close()
