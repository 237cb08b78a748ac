"""The three engines behind one face, on a clock that a test moves."""

from __future__ import annotations

import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from contracts.times import SECOND
from services.store.open import open_store
from services.store.ports import Store, Tx
from services.store.rows import ParkedRow
from tests.verification.dict_store.store import MemoryStore

START = 1_795_248_000 * SECOND
"""2026-11-21T08:00:00Z, a full minute."""
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
STANDING = "(SELECT us FROM standing_clock)"
"""The database's clock in these tests, as SQL."""
FORGET = "UPDATE activities SET attempt_at = NULL WHERE activity_id = {}"
COLUMNS = "SELECT due_at, attempt_at, ending FROM activities WHERE activity_id = {}"
DROP_ALL = (
    "TRUNCATE inbox, activities, members, parked, outbox, attempts, gates, counters, relays, requests, "
    "bindings, unbound, sessions, actions, jobs "
    "RESTART IDENTITY"
)


class Columns(NamedTuple):
    """Columns of `activities` that others compute: read as they are stored."""

    due_at: int | None
    attempt_at: int | None
    ending: bool


class _Undo(Exception):
    """Leaves a transaction."""


@asynccontextmanager
async def rolled_back(store: Store) -> AsyncIterator[Tx]:
    """A transaction that ends by an exception."""
    with contextlib.suppress(_Undo):
        async with store.transaction() as tx:
            yield tx
            raise _Undo


async def parked(tx: Tx, *activities: str) -> list[ParkedRow]:
    """All that waits for these activities' openings."""
    return await tx.parked([each.key for each in await tx.waiting(activities)])


class Bench(ABC):
    """One engine, empty; `another` is a second process on the same data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.now = START
        self._opened: list[Store] = []
        self.store: Store

    async def begin(self) -> None:
        """Open the first store."""
        self.store = await self.another(slot=0)

    async def another(self, *, slot: int = 1, **options: Any) -> Store:
        """A store of another process."""
        store = await self._open(slot, **options)
        self._opened.append(store)
        return store

    @abstractmethod
    async def _open(self, slot: int, **options: Any) -> Store: ...

    @abstractmethod
    async def columns(self, activity: str) -> Columns:
        """What the row says of its times."""
        ...

    @abstractmethod
    async def forget_attempt(self, activity: str) -> None:
        """As the release before leaves a row that it has raised."""
        ...

    @abstractmethod
    async def overwrite(self, activity: str, **columns: Any) -> None:
        """Write these columns and nothing that follows from them, as the release before does."""
        ...

    async def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += round(seconds * SECOND)

    async def close(self) -> None:
        """Give everything back."""
        for store in self._opened:
            await store.close()


class MemoryBench(Bench):
    """The dict store: every process has the same object."""

    def __init__(self) -> None:
        super().__init__("memory")
        self._shared = MemoryStore(lambda: self.now)

    async def _open(self, slot: int, **options: Any) -> Store:
        return self._shared

    async def columns(self, activity: str) -> Columns:
        row = self._shared.rows[activity]
        return Columns(row.due_at, row.attempt_at, row.ending)

    async def forget_attempt(self, activity: str) -> None:
        self._shared.rows[activity].attempt_at = None

    async def overwrite(self, activity: str, **columns: Any) -> None:
        row = self._shared.rows[activity]
        for column, value in columns.items():
            name = {"look_at": "throttled_until", "suspect_at": "doubt_at"}.get(column, column)
            for holder in (row, row.card, row.activity):
                if name in holder.__struct_fields__:
                    setattr(holder, name, value)


class SqliteBench(Bench):
    """A file of this test's own."""

    def __init__(self, path: Path) -> None:
        super().__init__("sqlite")
        self._path = path
        self._run("CREATE TABLE standing_clock (us INTEGER)")
        self._run("INSERT INTO standing_clock VALUES (?)", START)

    def _run(self, statement: str, *parameters: Any) -> list[Any]:
        connection = sqlite3.connect(self._path)
        with connection:
            found = connection.execute(statement, parameters).fetchall()
        connection.close()
        return found

    async def columns(self, activity: str) -> Columns:
        ((due, attempt, ending),) = self._run(COLUMNS.format("?"), activity)
        return Columns(due, attempt, bool(ending))

    async def forget_attempt(self, activity: str) -> None:
        self._run(FORGET.format("?"), activity)

    async def overwrite(self, activity: str, **columns: Any) -> None:
        places = ", ".join(f"{name} = ?" for name in columns)
        self._run(f"UPDATE activities SET {places} WHERE activity_id = ?", *columns.values(), activity)

    async def _open(self, slot: int, **options: Any) -> Store:
        return await open_store(f"sqlite+aiosqlite:///{self._path}", slot=slot, now=STANDING, **options)

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        self._run("UPDATE standing_clock SET us = ?", self.now)


class PostgresBench(Bench):
    """The session's migrated database, emptied."""

    def __init__(self, url: str) -> None:
        super().__init__("postgres")
        self.url = url

    async def begin(self) -> None:
        self.admin = await asyncpg.connect(self.url.replace("postgresql+asyncpg://", "postgresql://"))
        await self.clear()
        await super().begin()

    async def clear(self) -> None:
        """An empty database again, at the start of time."""
        self.now = START
        await self.admin.execute(f"{DROP_ALL}; UPDATE relay_leases SET owner = '', until = 0")
        await self.admin.execute("UPDATE standing_clock SET us = $1", START)

    async def _open(self, slot: int, **options: Any) -> Store:
        return await open_store(self.url, slot=slot, **{"now": STANDING, **options})

    async def columns(self, activity: str) -> Columns:
        return Columns(*await self.admin.fetchrow(COLUMNS.format("$1"), activity))

    async def forget_attempt(self, activity: str) -> None:
        await self.admin.execute(FORGET.format("$1"), activity)

    async def overwrite(self, activity: str, **columns: Any) -> None:
        places = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
        statement = f"UPDATE activities SET {places} WHERE activity_id = $1"
        await self.admin.execute(statement, activity, *columns.values())

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        await self.admin.execute("UPDATE standing_clock SET us = $1", self.now)

    async def close(self) -> None:
        await super().close()
        await self.admin.close()
