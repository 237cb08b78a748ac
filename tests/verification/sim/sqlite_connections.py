"""The real store on SQLite in WAL mode, the driver's thread replaced by virtual time.

A timed connection is what SQLAlchemy takes for one: the real `sqlite3` one, on which each function runs
when its time has come. Engines and open databases outlive a schedule (`seats.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.util import await_

from tests.verification.sim.deadlines import OVER
from tests.verification.sim.judges import Commit

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor
    from tests.verification.sim.seats import Database

PATIENCE: Final = 10.0
"""Seconds for which SQLite waits for its lock."""

Answer = tuple[list[Any], Any, int, int | None]
"""What a statement came to: rows, their description, how many it changed, the last row's id."""


class Waiting:
    """A function that waits for its turn; `future` is for whoever asked, who may be gone."""

    __slots__ = ("commit", "function", "future", "lasts")

    def __init__(
        self,
        function: Callable[[], Any],
        future: asyncio.Future[Any] | None,
        commit: Commit | None,
        *,
        lasts: bool,
    ) -> None:
        self.function, self.future, self.commit, self.lasts = function, future, commit, lasts


class TimedConnection:
    """One connection of one process, as SQLAlchemy's dialect knows one: one function after the other.

    Most are over in the step that asks for them, as a thread's would be that nobody waits for; the
    others wait until whoever else could go on has done so, or for a while, and others come between.
    """

    isolation_level: str | None = None

    def __init__(self, actor: Actor, database: Database) -> None:
        self.actor, self.world, self._database = actor, actor.world, database
        self.raw: sqlite3.Connection | None = database.take()
        self.cut = False
        self._queue: deque[Waiting] = deque()
        self._throw = actor.world.tape.throw
        self._since = 0.0

    # What SQLAlchemy asks of a connection.

    def cursor(self) -> TimedCursor:
        """For one statement."""
        return TimedCursor(self)

    def commit(self) -> None:
        """The judges hear of it in the step in which it becomes true."""
        self.call(self._commit, self.actor.committing(), lasts=True)

    def rollback(self) -> None:
        """A session that the server ended answers again once it was rolled back."""
        self.call(self._rollback)

    def close(self) -> None:
        """Whoever asks need not wait for it."""
        if self.raw is not None:
            self._begin(Waiting(self._close, None, None, lasts=False))

    terminate = close

    def create_function(self, *_: Any, **__: Any) -> None:
        """The dialect's own, of which the store uses none."""

    # Whose turn it is, and when.

    def call(self, function: Callable[[], Any], commit: Commit | None = None, *, lasts: bool = False) -> Any:
        """Its result, at once or when its time has come."""
        if not self._queue:
            thrown = self._throw() & 15 if lasts else 0
            if thrown < 12:
                try:
                    result = function()
                except sqlite3.OperationalError as busy:
                    if "locked" not in str(busy):
                        raise
                    thrown = 12
                else:
                    if commit is not None:
                        self.world.judges.committed(commit)
                    await_(OVER)
                    return result
        else:
            thrown = 0
        future = self.world.loop.create_future()
        self._begin(Waiting(function, future, commit, lasts=lasts), thrown)
        return await_(future)

    def _begin(self, item: Waiting, thrown: int | None = None) -> None:
        self._queue.append(item)
        if len(self._queue) == 1:
            self._soon(thrown)

    def _soon(self, thrown: int | None = None) -> None:
        """At once, after whoever else could go on, or after a while."""
        loop = self.world.loop
        self._since = loop.time()
        if thrown is None:
            thrown = self._throw() & 15 if self._queue[0].lasts else 0
        if thrown == 15:
            loop.call_later(self.world.latency(), self._go)
        elif thrown > 11:
            loop.call_soon(self._go)
        else:
            self._go()

    def _go(self) -> None:
        item = self._queue[0]
        result: Any = None
        error: Exception | None = None
        future = item.future
        try:
            result = item.function()
        except sqlite3.OperationalError as busy:
            waited = self.world.loop.time() - self._since
            if "locked" in str(busy) and waited < PATIENCE and not (future is None or future.done()):
                self.world.loop.call_later(0.005 + self.world.latency() / 8, self._go)
                return
            error = busy
        except Exception as failed:  # noqa: BLE001  # handed on to whoever awaits the future
            error = failed
        if item.commit is not None and error is None:  # though whoever asked for it may have given up
            self.world.judges.committed(item.commit)
        self._queue.popleft()
        if future is not None and not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self._queue:
            self._soon()

    # What runs when its time has come.

    def execute(self, statement: str, parameters: Sequence[Any]) -> Answer:
        """All rows at once: no cursor halfway through a result holds a lock."""
        cursor = self._there().execute(statement, parameters)
        return cursor.fetchall(), cursor.description, cursor.rowcount, cursor.lastrowid

    def _there(self) -> sqlite3.Connection:
        if self.cut:
            raise sqlite3.OperationalError("the session was ended: idle in transaction")
        if self.raw is None:
            raise sqlite3.ProgrammingError("the connection is closed")
        return self.raw

    def _commit(self) -> None:
        self._there().commit()

    def _rollback(self) -> None:
        self.cut = False
        if self.raw is not None:
            self.raw.rollback()

    def _close(self) -> None:
        if self.raw is not None:
            self._database.give_back(self.raw)
            self.raw = None

    def end(self, *, close: bool) -> None:
        """The server ends the session: it rolls back what is under way."""
        if self.raw is None:
            return
        self.cut = not close
        if close:
            self._close()
        else:
            self.raw.rollback()


class TimedCursor:
    """As much of a cursor as SQLAlchemy asks for; it has all rows when the statement is over."""

    arraysize = 1
    description: Any = None
    rowcount = -1
    lastrowid: int | None = None

    def __init__(self, connection: TimedConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> TimedCursor:
        """Pragmas are the database's own, set as it was opened (`seats.py`)."""
        if not statement.startswith("PRAGMA"):
            connection = self._connection
            self._rows, self.description, self.rowcount, self.lastrowid = connection.call(
                lambda: connection.execute(statement, parameters), lasts=True
            )
        return self

    def fetchone(self) -> Any:
        """The next row, or None."""
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """The rows are of no use any more."""
        self._rows = []

    async def _async_soft_close(self) -> None:
        """Asked by SQLAlchemy once the rows are there."""
