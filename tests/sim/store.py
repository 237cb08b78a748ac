"""The shared store as one process reaches it: with latency, outages, answers that get lost, and a judge.

Underneath is the dict store, or the real one on SQLite whose thread is replaced by virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiosqlite

from contracts.records import Record
from services.store.memory import MemoryStore
from services.store.open import open_store
from services.store.ports import Store, StoreUnavailable
from services.store.rows import Admission, InboxKey, Writes
from services.store.settle import Look
from tests.sim.judges import Commit
from tests.sim.loop import OWNER

if TYPE_CHECKING:
    from tests.sim.actors import Actor
    from tests.sim.world import World

BATCH: ContextVar[tuple[Record, ...]] = ContextVar("batch", default=())
"""The records that this task takes in."""
LOOKS: ContextVar[tuple[Look, ...]] = ContextVar("looks", default=())
"""The looks that this task settles."""
PATIENCE: Final = 10.0
"""Seconds for which SQLite waits for its lock."""


class FrontTx:
    """One transaction, watched. `cut`: the server ended the session of a process that stood still."""

    def __init__(self, tx: Any, commit: Commit) -> None:
        self._tx, self._commit = tx, commit
        self.cut = False

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> list[Admission]:
        self.here()
        found: list[Admission] = await self._tx.admit(keys, activity_ids)
        self._commit.admitted.update(zip(keys, found, strict=True))
        return found

    async def now(self) -> int:
        self.here()
        self._commit.now = now = await self._tx.now()
        return int(now)

    async def write(self, writes: Writes) -> None:
        self.here()
        self._commit.writes.append(writes)
        await self._tx.write(writes)

    def here(self) -> None:
        """Whether the session is still there."""
        if self.cut:
            raise StoreUnavailable("the session was ended: idle in transaction")

    def __getattr__(self, name: str) -> Any:
        self.here()
        return getattr(self._tx, name)


class FrontStore:
    """Implements `services.store.ports.Store` for one process."""

    def __init__(self, inner: Store, actor: Actor) -> None:
        self.inner, self.actor, self.world = inner, actor, actor.world
        self.pending: Commit | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[FrontTx]:
        world, actor = self.world, self.actor
        if waiting := world.delay(actor):
            await waiting
        fate = world.fate("store")
        if fate == "store_away" or world.store_away:
            raise StoreUnavailable("the store is away")
        commit = Commit(actor.name, BATCH.get(), LOOKS.get())
        front: FrontTx | None = None
        try:
            async with self.inner.transaction() as tx:
                front = FrontTx(tx, commit)
                actor.transactions[front] = tx
                self._watch(tx, commit, front)
                yield front
                if waiting := world.delay(actor):
                    await waiting
                front.here()
                if fate == "store_undone":
                    raise StoreUnavailable("the connection was cut before the commit")
        finally:
            if front is not None:
                actor.transactions.pop(front, None)
            if self.pending is commit:
                self.pending = None
        if waiting := world.delay(actor):
            await waiting
        if fate == "store_lost":
            raise StoreUnavailable("the connection was cut after the commit")

    def _watch(self, tx: Any, commit: Commit, front: FrontTx) -> None:
        """The judge hears of the commit in the step in which it happens."""
        if not isinstance(self.inner, MemoryStore):
            self.pending = commit
            return
        real = tx.commit

        def committed() -> None:
            front.here()
            real()
            self.world.judges.committed(commit)

        tx.commit = committed

    def committing(self) -> Commit | None:
        """What a commit on this process's only writing connection makes true."""
        commit, self.pending = self.pending, None
        return commit

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.inner, name)

        async def call(*args: Any, **more: Any) -> Any:
            if waiting := self.world.delay(self.actor):
                await waiting
            if self.world.fate("read") or self.world.store_away:
                raise StoreUnavailable("the store is away")
            answer = await verb(*args, **more)
            if waiting := self.world.delay(self.actor):
                await waiting
            return answer

        setattr(self, name, call)
        return call


def dict_store(world: World) -> MemoryStore:
    """The dict store, on which other processes come in between any two primitives."""

    def pause() -> Awaitable[None] | None:
        thrown = world.tape.throw()
        if thrown & 7 < 6:
            return None
        return world.loop.nap(0.001 * (1 + (thrown >> 3 & 15) ** 2)) if thrown & 1 else asyncio.sleep(0)

    return MemoryStore(world.wall, pause=pause)


def forget(world: World, store: MemoryStore) -> None:
    """Dead processes wait for no lock; whoever came after them is woken."""
    waiting = store.locks._waiting  # what a server knows of its sessions
    for key, turns in list(waiting.items()):
        for turn in turns:
            waiters: Any = turn._callbacks  # whose contexts say whose they are
            if any((context.get(OWNER) or world.loop.world).dead for _, context in waiters or ()):
                turn.cancel()
        if key not in store.locks.holder:
            store.locks.give(key)


class Lane:
    """aiosqlite's queue and thread, in virtual time: one function after the other, each a step."""

    daemon = True

    def __init__(self, actor: Actor, path: Path) -> None:
        self.actor, self.world, self.path = actor, actor.world, path
        self.queue: deque[tuple[asyncio.Future[Any] | None, Callable[[], Any], Commit | None]] = deque()
        self.raw: sqlite3.Connection | None = None
        self.cut = False
        self._since = 0.0

    def start(self) -> None:
        """There is nothing to start."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        """What aiosqlite would hand to its thread."""
        future, function = item
        self.queue.append(
            (future, function, self.actor.committing() if _name(function) == "commit" else None)
        )
        if len(self.queue) == 1:
            self._soon()

    def connect(self) -> sqlite3.Connection:
        """A connection that waits for nothing and knows the world's time."""
        raw = sqlite3.connect(self.path, timeout=0, check_same_thread=False, factory=_Impatient)
        raw.create_function("virtual_now", 0, self.world.wall)
        self.raw = raw
        return raw

    def _soon(self) -> None:
        self._since = self.world.loop.time()
        if self.world.tape.pick(8) == 7:
            self.world.loop.call_later(self.world.latency(), self._go)
        else:
            self.world.loop.call_soon(self._go)

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
            self._soon()

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


class _Cursor(sqlite3.Cursor):
    """Waiting for a lock would stop the world."""

    def execute(self, sql: str, *args: Any) -> _Cursor:
        super().execute("PRAGMA busy_timeout=0" if sql.startswith("PRAGMA busy_timeout") else sql, *args)
        return self


class _Impatient(sqlite3.Connection):
    def cursor(self, *_: Any) -> _Cursor:  # type: ignore[override]  # aiosqlite asks for no other kind
        return super().cursor(_Cursor)


async def sqlite_store(actor: Actor, path: Path) -> Store:
    """The real store on SQLite WAL, on connections of this process."""

    async def create() -> aiosqlite.Connection:
        lane = Lane(actor, path)
        actor.lanes.append(lane)
        connection = aiosqlite.Connection(lane.connect, 64)
        stand_in: Any = lane
        connection._tx = connection._thread = stand_in  # no thread in virtual time
        return await connection

    return await open_store(
        f"sqlite+aiosqlite:///{path}", slot=actor.slot, now="virtual_now()", async_creator=create
    )


def fresh(template: Path, path: Path) -> Path:
    """A migrated database of a schedule's own."""
    shutil.copyfile(template, path)
    return path
