"""The real store on SQLite in WAL mode, aiosqlite's thread replaced by virtual time.

Opening an engine costs more than a schedule, so each place of a process has one engine, and whoever
takes the place gets it with an empty pool: the connections are always its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiosqlite

from services.store.open import migrate, open_store
from services.store.ports import Store
from services.store.sql import SqlStore
from tests.sim.judges import Commit

if TYPE_CHECKING:
    from tests.sim.actors import Actor

PATIENCE: Final = 10.0
"""Seconds for which SQLite waits for its lock."""
STEPS: Final = frozenset({"execute", "commit", "close_and_stop"})
"""What takes its time; the rest of a cursor's life is over in the step that asks for it."""
QUICK: Final = frozenset({"cursor", "fetchall"})
"""What cannot fail, and is over before anybody looks."""

Item = tuple["asyncio.Future[Any] | None", Callable[[], Any], "Commit | None"]


class Lane:
    """aiosqlite's queue and thread, in virtual time: one function after the other."""

    daemon = True

    def __init__(self, actor: Actor, path: Path) -> None:
        self.actor, self.world, self.path = actor, actor.world, path
        self.queue: deque[Item] = deque()
        self.raw: sqlite3.Connection | None = None
        self.cut = False
        self._since = 0.0

    def start(self) -> None:
        """There is nothing to start."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        """What aiosqlite would hand to its thread."""
        future, function = item
        name = _name(function)
        if name in QUICK and future is not None and not (self.queue or self.cut):
            future.set_result(function())
            return
        asked: Any = function  # a partial: aiosqlite makes no other
        if name == "execute" and asked.args[0].startswith("PRAGMA busy_timeout"):
            function = _nothing  # whoever waits for a lock would stop the world
        self.queue.append((future, function, self.actor.committing() if name == "commit" else None))
        if len(self.queue) == 1:
            self._soon(name)

    def connect(self) -> sqlite3.Connection:
        """A connection that waits for nothing and knows the world's time."""
        raw = sqlite3.connect(self.path, timeout=0, check_same_thread=False)
        raw.create_function("virtual_now", 0, self.world.wall)
        self.raw = raw
        return raw

    def _soon(self, name: str) -> None:
        """At once, after whoever else could go on, or after a while."""
        self._since = self.world.loop.time()
        thrown = self.world.tape.throw() & 15 if name in STEPS else 0
        if thrown == 15:
            self.world.loop.call_later(self.world.latency(), self._go)
        elif thrown > 11:
            self.world.loop.call_soon(self._go)
        else:
            self._go()

    def _go(self) -> None:
        future, function, commit = self.queue[0]
        name = _name(function)
        result: Any = None
        error: Exception | None = None
        try:
            result = self._run(name, function)
        except sqlite3.OperationalError as busy:
            waited = self.world.loop.time() - self._since
            if "locked" in str(busy) and waited < PATIENCE and not (future is None or future.done()):
                self.world.loop.call_later(0.005 + self.world.latency() / 8, self._go)
                return
            error = busy
        except Exception as failed:  # noqa: BLE001  # handed on to whoever awaits the future
            error = failed
        if commit is not None and error is None:  # though whoever asked for it may have given up
            self.world.judges.committed(commit)
        self.queue.popleft()
        if future is not None and not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self.queue:
            self._soon(_name(self.queue[0][1]))

    def _run(self, name: str, function: Callable[[], Any]) -> Any:
        """A session that the server ended answers nothing until it was rolled back."""
        if self.cut and name not in ("rollback", "close", "close_and_stop"):
            raise sqlite3.OperationalError("the session was ended: idle in transaction")
        if name == "rollback":
            self.cut = False
        elif self.raw is not None and (name == "close_and_stop" or _whose(function, "close") is self.raw):
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed twice
                self.raw.rollback()  # an uncollected cursor would keep a closed connection's lock
        return function()

    def end(self, *, close: bool) -> None:
        """The server ends the session: first roll back, or a closed connection keeps its lock."""
        if self.raw is None:
            return
        self.cut = not close
        with contextlib.suppress(sqlite3.ProgrammingError):  # the process itself had closed it
            self.raw.rollback()
        if close:
            self.raw.close()
            self.raw = None


def _name(function: Any) -> str:
    """What aiosqlite would have its thread do."""
    return getattr(getattr(function, "func", function), "__name__", "")


def _whose(function: Any, name: str) -> Any:
    """The object whose method of this name it is: cursors close, too."""
    return getattr(getattr(function, "func", None), "__self__", None) if _name(function) == name else None


def _nothing() -> None:
    """Instead of a function."""


class Seat:
    """The store of whoever has this place now."""

    def __init__(self, template: Path, slot: int) -> None:
        self.template, self.slot = template, slot
        self.path = template
        self.actor: Actor | None = None
        self.store: SqlStore

    async def open(self) -> Seat:
        """Before any schedule, on a thread: SQLAlchemy asks its first connection this and that."""
        self.store = await open_store(
            f"sqlite+aiosqlite:///{self.template}",
            slot=self.slot,
            now="virtual_now()",
            async_creator=self._connect,
        )
        await self.store.ping()
        await self.store.release_shards("nobody")
        await self.store.close()
        return self

    def take(self, actor: Actor, path: Path) -> Store:
        """Connections from now on are this process's; those of the one before are left where they are."""
        self.actor, self.path = actor, path
        for engine in (self.store.engine, self.store._readers):
            engine.sync_engine.dispose(close=False)
        return self.store

    async def _connect(self) -> aiosqlite.Connection:
        if self.actor is None:
            first = await aiosqlite.connect(self.template)
            await first.create_function("virtual_now", 0, int)
            return first
        lane = Lane(self.actor, self.path)
        self.actor.lanes.append(lane)
        connection = aiosqlite.Connection(lane.connect, 64)
        stand_in: Any = lane
        connection._tx = connection._thread = stand_in  # no thread in virtual time
        return await connection


class Seats:
    """A migrated database, of which each schedule gets a copy, and the stores on it by place."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.template = folder / "template"
        self._seats: dict[int, Seat] = {}
        asyncio.run(self._open(slots))

    async def _open(self, slots: int) -> None:
        await migrate(f"sqlite+aiosqlite:///{self.template}")
        for slot in range(slots):
            self._seats[slot] = await Seat(self.template, slot).open()

    def take(self, actor: Actor, path: Path) -> Store:
        """A process that was killed never runs again, so its place and its engine are free."""
        return self._seats[actor.slot].take(actor, path)
