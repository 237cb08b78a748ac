"""Each story is told on the dict store and on the real one, SQLite, both in virtual time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.store.ports import Store
from statemachine.card import DeliveryRules
from tests.dispatcher.inline import migrated, sqlite_in_virtual_time, written
from tests.dispatcher.world import Make
from tests.verification.dict_store.store import MemoryStore


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("dispatcher") / "migrated.sqlite3"
    migrated(path)
    return path


@pytest.fixture(params=["dict", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the world of one test."""
    path = tmp_path / "store.sqlite3"
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)

    async def store(wall: Callable[[], int], rules: DeliveryRules) -> Store:
        if request.param == "dict":
            return MemoryStore(wall, rules=rules)
        return await sqlite_in_virtual_time(path, wall, rules)

    return Make(store, written if request.param == "sqlite" else object)
