"""Brings a schema to this release while others use it (design.md §5: additive first).

A release's migrations come in two parts. What it needs is added first, beside what the release before
needs, so that both run on one database. What only the release before needs goes last, in a migration of
its own, once none of its processes runs: `finish`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.store.errors import wrong_encoding
from services.store.ports import StoreUnavailable

NEEDED: Final = "0014"
"""The migration that this code needs, and the last that the release before can live with."""
NEWEST: Final = "0015"
"""The last migration: takes away what only the release before needs."""

ADVISORY_LOCK: Final = 0x6C697665
"""`live`: two processes that migrate at once take turns."""
_HOLDER: Final = """
    SELECT pid, coalesce(nullif(application_name, ''), 'a program without a name'),
      coalesce(host(client_addr), 'this machine'), to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = :key
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_HELD: Final = (
    "another session migrates this database, or was left behind by a process that did: pid {0} ({1} from "
    "{2}), since {3}; if that process is gone, end its session: SELECT pg_terminate_backend({0})"
)
PAUSE: Final = 0.5
"""Seconds between tries for a lock."""
TRIES: Final = 120
_LOCKED: Final = ("55P03", "40P01")
"""SQLSTATE of a lock timeout and a deadlock."""
_BUSY: dict[str, object] = {}
"""Alembic keeps its context in globals, so one migration at a time in a process, whichever its loop."""


async def upgrade(
    connection: AsyncConnection, *, finish: bool, wait: float, tell: Callable[[str], None]
) -> str:
    """Migrate over this connection; the revision it is at then. Raises what alembic and SQLAlchemy raise.

    An empty database gets everything at once: no other release can be at work there. `wait`: seconds for
    another process that migrates; meanwhile `tell` hears who that is.
    """
    if connection.dialect.name == "postgresql":
        encoding = (await connection.execute(text("SELECT current_setting('server_encoding')"))).scalar_one()
        await connection.rollback()
        if encoding != "UTF8":
            raise StoreUnavailable(wrong_encoding(encoding))
    async with _alone_here(), _alone_there(connection, wait, tell):
        for _ in range(TRIES):
            try:
                at = await connection.run_sync(_upgrade, finish=finish)
                await connection.commit()
            except DBAPIError as error:
                await connection.rollback()
                if getattr(error.orig, "sqlstate", None) not in _LOCKED:
                    raise
            else:
                return at
            await asyncio.sleep(PAUSE)
        raise StoreUnavailable(
            "a table stayed locked while its schema was to be changed: is a long transaction open? "
            "Nothing is half done; run `livecard init` again"
        )


@asynccontextmanager
async def _alone_here() -> AsyncIterator[None]:
    token = object()
    # Whoever holds it may run on another loop, which no event of asyncio's reaches.
    while _BUSY.setdefault("migrating", token) is not token:  # noqa: ASYNC110 (see above)
        await asyncio.sleep(PAUSE / 10)
    try:
        yield
    finally:
        del _BUSY["migrating"]


@asynccontextmanager
async def _alone_there(
    connection: AsyncConnection, wait: float, tell: Callable[[str], None]
) -> AsyncIterator[None]:
    """A transaction of a connection of its own holds the lock: behind a pooler a session holds nothing.

    It is asked for again and again: whoever waits inside a statement holds a snapshot, and building an index
    concurrently waits for every snapshot."""
    if connection.dialect.name != "postgresql":
        yield  # BEGIN IMMEDIATE holds the only lock there is
        return
    key, holder, tries = {"key": ADVISORY_LOCK}, "", 0
    async with connection.engine.connect() as keeper:
        while not (await keeper.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key)).scalar_one():
            found = (await keeper.execute(text(_HOLDER), key)).first()
            await keeper.rollback()
            if found is not None and holder != (holder := _HELD.format(*found)):
                tell(f"waiting: {holder}")
            tries += 1
            if tries * PAUSE > wait:
                raise StoreUnavailable(
                    f"{holder or 'another session migrates this database'}. Nothing is changed"
                )
            await asyncio.sleep(PAUSE)
        await keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield
        await keeper.rollback()


def _upgrade(connection: Connection, *, finish: bool) -> str:
    from alembic import command  # slow to import, and whoever only wants to know `NEEDED` never migrates
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    if connection.dialect.name == "sqlite":
        connection.execute(text("SELECT 1"))  # begins: then everything is one transaction
    fresh = MigrationContext.configure(connection).get_current_revision() is None
    if connection.dialect.name == "postgresql":
        connection.commit()  # each migration has a transaction of its own
    config = Config()
    # Alembic reads it as a template, in which a percent sign is doubled.
    folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST if fresh or finish else NEEDED)
    return MigrationContext.configure(connection).get_current_revision() or ""
