"""The API on SQLite, each test with a file of its own; and on every engine, for what is read there."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.store.open import migrate
from tests.engines.support import run_apart
from tests.gateway.platform import Stage
from tests.gateway.reading import Api
from tests.gateway.world import World
from tests.store.benches import Bench, SqliteBench
from tests.store.conftest import bench, migrated_postgres, migrated_sqlite, postgres

__all__ = ["bench", "migrated_postgres", "migrated_sqlite", "postgres"]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("gateway") / "migrated.sqlite3"
    run_apart(migrate(f"sqlite+aiosqlite:///{path}", finish=True))
    return path


@pytest.fixture
async def world(migrated_file: Path, tmp_path: Path) -> AsyncIterator[World]:
    """The API, its store empty."""
    path = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, path)
    bench = SqliteBench(path)
    await bench.begin()
    made = World(bench)
    yield made
    await made.close()
    await bench.close()


@pytest.fixture
async def api(bench: Bench) -> AsyncIterator[Api]:
    """The API on each engine, to read from; the ledger balances afterwards."""
    made = World(bench)
    yield Api(made)
    await made.close()
    await made.scene.balance()


@pytest.fixture
async def stage(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    """The API, its store empty, and WeChat behind it."""
    path = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, path)
    bench = SqliteBench(path)
    await bench.begin()
    made = Stage(bench)
    yield made
    await made.close()
    await bench.close()


@pytest.fixture
async def anywhere(bench: Bench) -> AsyncIterator[Stage]:
    """The same, on each engine."""
    made = Stage(bench)
    yield made
    await made.close()
