"""Transactions on PostgreSQL by the driver itself.

SQLAlchemy keeps the pool. Above the driver it costs as much CPU for a statement as the driver does, and looks
at each element of each array; so the statements of transactions go to the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.store.dialect import Statement
from services.store.ports import StoreLost


class DriverRun:
    """Runs statements on one connection of asyncpg's."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows."""
        rows: list[Any] = await self._driver.fetch(
            statement.positional, *(parameters[name] for name in statement.names)
        )
        return rows

    async def commit(self, transaction: Any) -> None:
        """Commit."""
        await transaction.commit()


@asynccontextmanager
async def driver_transaction(engine: AsyncEngine) -> AsyncIterator[DriverRun]:
    """One transaction over a connection of the pool.

    Whoever is cancelled, or runs out of time, leaves the connection behind: nobody waits for a server that
    may not answer.
    """
    async with engine.connect() as connection:
        driver = await _living(connection)
        transaction, run = driver.transaction(), DriverRun(driver)
        try:
            await transaction.start()
            yield run
            await run.commit(transaction)
        except asyncio.CancelledError:
            driver.terminate()
            raise
        except TimeoutError as error:
            driver.terminate()
            raise StoreLost("the database gives no answer any more") from error
        except BaseException:
            if not driver.is_closed():
                with contextlib.suppress(Exception):  # what it failed of is told already
                    await transaction.rollback()
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
