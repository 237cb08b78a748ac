"""The real SQLite store without its thread, so that it runs in virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite

from services.store.open import migrate, open_store
from services.store.sql import SqlStore
from statemachine.card import DeliveryRules

NOW = "virtual_now()"


class _Inline:
    """aiosqlite's queue and thread in one: what is put is done at once, by the caller."""

    daemon = True

    def start(self) -> None:
        """There is nothing to start."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = item
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # handed on to whoever awaits the future
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


async def sqlite_in_virtual_time(path: Path, wall: Callable[[], int], rules: DeliveryRules) -> SqlStore:
    """A migrated SQLite store whose clock is `wall`."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
        connection.create_function("virtual_now", 0, wall)
        return connection

    async def create() -> aiosqlite.Connection:
        connection = aiosqlite.Connection(connect, 64)
        inline: Any = _Inline()
        connection._tx = connection._thread = inline
        return await connection

    return await open_store(f"sqlite+aiosqlite:///{path}", now=NOW, async_creator=create, rules=rules)


def migrated(path: Path) -> None:
    """Make the schema, in real time, before a test's virtual one begins."""
    asyncio.run(migrate(f"sqlite+aiosqlite:///{path}"))
