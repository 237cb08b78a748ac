"""PostgreSQL by the driver itself: its sessions, also behind a pooler, and its transactions.

SQLAlchemy keeps the pool. Above the driver it costs as much CPU for a statement as the driver does, and looks
at each element of each array; so statements go to the driver.

A pooler such as PgBouncer refuses settings at the start of a session, and in transaction mode gives each
transaction another session of the server. So behind one no statement has a name, everything is in a
transaction, and each transaction brings its settings with it. Whether there is one shows in the process id
that the server tells at the start: a pooler tells one of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.runtime.ports import SELDOM
from services.store.dialect import Statement
from services.store.ports import StoreLost, StoreUnavailable
from services.store.primary import connect

LOG = structlog.get_logger("livecard.store")

STATEMENTS: Final = 200
"""Prepared statements that a session keeps, where it is ours alone."""
LIMITS: Final = {
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "jit": "off",  # compiling a claim takes longer than running it
}
"""So that a process frozen inside a transaction blocks nobody for long (design.md §5); in ms."""
_OURS: Final = "; ".join(f"SET {name} = '{value}'" for name, value in LIMITS.items())
_LOCAL: Final = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in LIMITS.items())


class _Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """asyncpg's connection, without what SQLAlchemy asks of each new one: how JSON is read, of which we have
    none. That would be a statement outside a transaction, which a pooler may cut in two."""

    _source_traceback = None  # one that was never whole, as a server talked nonsense, can be collected

    async def set_type_codec(self, *_: Any, **__: Any) -> None:
        """Nothing."""


class Sessions:
    """Makes the sessions of one engine. `pooled`: whether a pooler stands between; None: not known yet. `tls`
    answers the driver's TLS options, and a password out of a file, anew for each, so that files which were
    renewed are read."""

    def __init__(self, tls: Callable[[], Mapping[str, Any]], *, pooled: bool | None = None) -> None:
        self._tls, self.pooled = tls, pooled
        self._files: Mapping[str, Any] = tls()

    async def connect(self, *args: Any, **how: Any) -> Any:
        """One session of the driver's."""
        while True:
            believed = self.pooled
            names = STATEMENTS if believed is False else 0
            own = {**self._renewed(), "statement_cache_size": names, "connection_class": _Session}
            driver = await connect(*args, **{**how, **own})
            try:
                if not believed:
                    self.pooled = await _is_pooled(driver)
                if names and not self.pooled:
                    await driver.execute(_OURS)
            except BaseException:
                driver.terminate()
                raise
            if bool(names) is not self.pooled:
                return driver
            driver.terminate()  # it was made for the other kind

    def _renewed(self) -> Mapping[str, Any]:
        """TLS by its files as they are now; where these are of no use, half renewed say, as they were."""
        try:
            self._files = self._tls()
        except StoreUnavailable as error:
            LOG.warning(
                "files of TLS cannot be used; those of before still are", error=str(error), every=SELDOM
            )
        return self._files

    def begin(self, how: str = "") -> str:
        """The statements that begin a transaction, in one round trip."""
        return f"BEGIN {how}; {_LOCAL}" if self.pooled else f"BEGIN {how}"


async def _is_pooled(driver: Any) -> bool:
    """By the simple protocol, which leaves nothing behind in a session that may be another's."""
    found: str = await driver.execute(f"SELECT WHERE pg_backend_pid() = {driver.get_server_pid()}")
    return found != "SELECT 1"


class DriverRun:
    """Runs statements on one connection of asyncpg's. What the connection itself fails of is ours already:
    the OSError of whoever works in the transaction is his own."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows."""
        values = [parameters[name] for name in statement.names]
        try:
            rows: list[Any] = await self._driver.fetch(statement.positional, *values)
        except OSError as error:
            raise self._failed(error) from error
        return rows

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        said = await self._plain(statement.positional, *(parameters[name] for name in statement.names))
        return int(said.rpartition(" ")[2])  # `DELETE 12`

    async def begin(self, statements: str) -> None:
        """Begin."""
        await self._plain(statements)

    async def commit(self) -> None:
        """Commit. A transaction in which a statement failed is rolled back, which the server says quietly."""
        if (said := await self._plain("COMMIT")) != "COMMIT":
            raise StoreUnavailable(f"the transaction was not committed: {said}")

    async def _plain(self, statement: str, *values: Any) -> str:
        try:
            said: str = await self._driver.execute(statement, *values)
        except OSError as error:
            raise self._failed(error) from error
        return said

    def _failed(self, error: OSError) -> StoreUnavailable:
        """Whoever runs out of time leaves the connection behind: nobody waits for a server that may not
        answer."""
        if isinstance(error, TimeoutError):
            self._driver.terminate()
            return StoreLost("the database gives no answer any more")
        return StoreUnavailable(f"the database cannot be reached: {error.strerror or type(error).__name__}")


@asynccontextmanager
async def driver_transaction(
    engine: AsyncEngine, sessions: Sessions, how: str = "", *, alone: bool = False
) -> AsyncIterator[DriverRun]:
    """One transaction over a connection of the pool. `alone`: it is one statement, which needs no BEGIN and
    COMMIT where the session is ours.

    Whoever is cancelled leaves the connection behind, too.
    """
    async with engine.connect() as connection:
        driver = await _living(connection)
        run, bare = DriverRun(driver), alone and not sessions.pooled
        try:
            if not bare:
                await run.begin(sessions.begin(how))
            yield run
            if not bare:
                await run.commit()
        except asyncio.CancelledError:
            driver.terminate()
            raise
        except BaseException:
            if not driver.is_closed() and not bare:
                with contextlib.suppress(Exception):  # what it failed of is told already
                    await driver.execute("ROLLBACK")
            raise
        finally:
            if driver.is_closed() or driver.is_in_transaction():
                driver.terminate()
                await connection.invalidate()


async def _living(connection: AsyncConnection) -> Any:
    """The driver's connection; those of the pool that the server has closed meanwhile are left out."""
    while True:
        driver = (await connection.get_raw_connection()).driver_connection
        if driver is not None and not driver.is_closed():
            return driver
        await connection.invalidate()
