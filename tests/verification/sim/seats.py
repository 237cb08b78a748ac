"""Stores on SQLite that outlive a schedule: engines by place, and one database that begins anew.

Opening an engine, a database or a connection costs more than a schedule. So each place of a process
has one engine, and whoever takes the place gets it with an empty pool; each operating-system process
has one database, which a schedule finds as it was migrated; and a connection that was closed is
another's later, rolled back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.runtime.process import delivery_rules
from services.store.open import migrate, open_store
from services.store.ports import Store
from services.store.sql import SqlStore
from tests.verification.sim.sqlite_connections import TimedConnection
from tests.verification.sim.weather import Weather, settings

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor


class Database:
    """A copy of the migrated one, for all schedules of an operating-system process."""

    def __init__(self, template: Path, path: Path) -> None:
        self.wall: Callable[[], int] = int
        self._path, self._idle = path, list[sqlite3.Connection]()
        shutil.copyfile(template, path)
        self._own = self._open()
        self._own.execute("ATTACH ? AS template", [f"file:{template}?immutable=1"])
        self._anew = self._statements()

    def _statements(self) -> list[str]:
        """What makes it as it was."""
        tables = "SELECT name FROM template.sqlite_schema WHERE type = 'table' AND name NOT LIKE '%_stat_'"
        anew = []
        for (name,) in self._own.execute(tables).fetchall():
            anew.append(f"DELETE FROM main.{name}")
            if self._own.execute(f"SELECT 1 FROM template.{name}").fetchall():
                anew.append(f"INSERT INTO main.{name} SELECT * FROM template.{name}")
        return anew

    def begin(self, wall: Callable[[], int]) -> None:
        """A schedule begins, whose time this is; nothing is left of the one before."""
        self.wall = wall
        self._own.execute("BEGIN IMMEDIATE")
        for statement in self._anew:
            self._own.execute(statement)
        self._own.commit()

    def _open(self) -> sqlite3.Connection:
        """A connection that waits for nothing and knows the world's time."""
        raw = sqlite3.connect(
            f"file:{self._path}",
            uri=True,
            timeout=0,
            check_same_thread=False,
            isolation_level=None,
            cached_statements=512,
        )
        raw.create_function("virtual_now", 0, lambda: self.wall())
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-4000"):
            raw.execute(f"PRAGMA {pragma}")
        return raw

    def take(self) -> sqlite3.Connection:
        """One that nobody has."""
        return self._idle.pop() if self._idle else self._open()

    def give_back(self, raw: sqlite3.Connection) -> None:
        """The server has rolled back what was under way."""
        raw.rollback()
        self._idle.append(raw)


class Seat:
    """The store of whoever has this place now."""

    def __init__(self, template: Path, slot: int) -> None:
        self.template, self.slot = template, slot
        self.actor: Actor | None = None
        self.database: Database
        self.store: SqlStore

    async def open(self) -> Seat:
        """Before any schedule, on a thread: SQLAlchemy asks its first connection this and that."""
        self.store = await open_store(
            f"sqlite+aiosqlite:///{self.template}",
            slot=self.slot,
            now="virtual_now()",
            rules=delivery_rules(settings(Weather({}))),
            creator=self._connect,
        )
        await self.store.ping()
        await self.store.release_shards("nobody")
        await self.store.close()
        return self

    def take(self, actor: Actor, database: Database) -> Store:
        """Connections from now on are this process's; those of the one before are left where they are."""
        self.actor, self.database = actor, database
        for engine in (self.store.engine, self.store._readers):
            engine.sync_engine.dispose(close=False)
        return self.store

    def _connect(self) -> Any:
        if self.actor is None:
            first: Any = self.store.engine.dialect.dbapi
            connection = first.connect(self.template)
            connection.create_function("virtual_now", 0, int)
            return connection
        connection = TimedConnection(self.actor, self.database)
        self.actor.connections.append(connection)
        return connection


class Seats:
    """A migrated database, of which each operating-system process gets a copy, and stores by place."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder, self.template = folder, folder / "template"
        self._seats: dict[int, Seat] = {}
        self._database: tuple[int, Database] | None = None
        asyncio.run(self._open(slots))

    async def _open(self, slots: int) -> None:
        await migrate(f"sqlite+aiosqlite:///{self.template}")
        for slot in range(slots):
            self._seats[slot] = await Seat(self.template, slot).open()

    def begin(self, wall: Callable[[], int]) -> None:
        """A schedule begins. A forked process opens files of its own."""
        if self._database is None or self._database[0] != os.getpid():
            self._database = os.getpid(), Database(self.template, self.folder / f"run-{os.getpid()}")
        self._database[1].begin(wall)

    def take(self, actor: Actor) -> Store:
        """A process that was killed never runs again, so its place and its engine are free."""
        assert self._database is not None
        return self._seats[actor.slot].take(actor, self._database[1])

    def tidy(self, pid: int) -> None:
        """A forked process is over, and so is its database."""
        for suffix in ("", "-wal", "-shm"):
            Path(self.folder / f"run-{pid}{suffix}").unlink(missing_ok=True)
