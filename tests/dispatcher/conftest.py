"""Each story is told on the dict store and on the real one, SQLite, both in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.store.ports import Store
from statemachine.card import DeliveryRules
from tests.dispatcher.inline import migrated, sqlite_in_virtual_time
from tests.dispatcher.world import Make
from tests.verification.dict_store.store import MemoryStore


@pytest.fixture(params=["dict", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the world of one test."""
    path = tmp_path / "store.sqlite3"
    if request.param == "sqlite":
        migrated(path)

    async def store(wall: Callable[[], int], rules: DeliveryRules) -> Store:
        if request.param == "dict":
            return MemoryStore(wall, rules=rules)
        return await sqlite_in_virtual_time(path, wall, rules)

    return Make(store)
