"""The real SQLite store without its thread, so that it runs in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
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
    written = 0
    """How many transactions that changed something have ended, on all connections."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self._changes = 0

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
        self._count()

    def _count(self) -> None:
        if self.connection is None or self.connection.in_transaction:
            return
        with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed
            if self.connection.total_changes != self._changes:
                self._changes = self.connection.total_changes
                _Inline.written += 1


async def sqlite_in_virtual_time(path: Path, wall: Callable[[], int], rules: DeliveryRules) -> SqlStore:
    """A migrated SQLite store whose clock is `wall`."""

    async def create() -> aiosqlite.Connection:
        inline = _Inline()

        def connect() -> sqlite3.Connection:
            inline.connection = connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
            connection.create_function("virtual_now", 0, wall)
            return connection

        connection = aiosqlite.Connection(connect, 64)
        anyone: Any = inline
        connection._tx = connection._thread = anyone
        return await connection

    return await open_store(f"sqlite+aiosqlite:///{path}", now=NOW, async_creator=create, rules=rules)


def written() -> int:
    """How many transactions have changed such a store: while it stands still, so does what one reads."""
    return _Inline.written


def migrated(path: Path) -> None:
    """Make the schema, in real time, before a test's virtual one begins."""
    asyncio.run(migrate(f"sqlite+aiosqlite:///{path}"))
