"""Opens a store by its URL, and migrates it."""

from __future__ import annotations

import inspect
import sqlite3
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.store.dialect import Dialect
from services.store.errors import NEWER, translated
from services.store.ports import StoreUnavailable
from services.store.sql import SqlStore

OLDEST_SQLITE: Final = (3, 35, 0)
"""RETURNING and UPDATE … FROM."""
_SESSION: Final = {
    "application_name": "livecard",
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "jit": "off",  # compiling the sweep takes longer than running it
}
"""So that a process frozen inside a transaction blocks nobody for long (design.md §5); in ms."""


async def open_store(
    url: str,
    *,
    slot: int = 0,
    repair_after: int = 30_000_000,
    pool: int = 8,
    now: str | None = None,
    **engine: Any,
) -> SqlStore:
    """A store that connects at first use. `pool`: connections to PostgreSQL. Raises `StoreUnavailable`.

    `now` replaces the SQL of the clock and `engine` goes to SQLAlchemy (the simulation hands in an
    `async_creator`).
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        made = create_async_engine(
            parsed,
            pool_size=pool,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            connect_args={"server_settings": _SESSION, "timeout": 5, "command_timeout": 30},
            **engine,
        )
        return SqlStore(made, Dialect(postgres=True, now=now), slot=slot, repair_after=repair_after)
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    _make_folder(parsed)
    dialect = Dialect(postgres=False, now=now)
    writer = _sqlite(parsed, "BEGIN IMMEDIATE", engine)
    readers = _sqlite(parsed, "BEGIN", engine)
    return SqlStore(writer, dialect, slot=slot, repair_after=repair_after, readers=readers)


def safe_url(url: str) -> str:
    """The URL without its password, for people and logs."""
    return _parse(url).render_as_string(hide_password=True)


async def migrate(url: str) -> None:
    """Bring the schema to this release. Safe to repeat, and for two at once (an advisory lock)."""
    store = await open_store(url)
    try:
        with translated():
            async with store.engine.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
    except CommandError as error:  # the revision it is at is none of ours
        raise StoreUnavailable(f"{NEWER}: {error}") from error
    finally:
        await store.close()


def _upgrade(connection: Connection) -> None:
    config = Config()
    # Alembic reads it as a template, in which a percent sign is doubled.
    folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number; it may be a piece of a password
        raise StoreUnavailable("LIVECARD_DATABASE is not an SQLAlchemy URL") from None
    if parsed.drivername not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
        raise StoreUnavailable(
            f"LIVECARD_DATABASE begins with {parsed.drivername}://, but livecard speaks "
            "postgresql+asyncpg:// and sqlite+aiosqlite:///"
        )
    if parsed.get_backend_name() == "postgresql" and (unknown := _unknown_options(parsed)):
        raise StoreUnavailable(
            f"LIVECARD_DATABASE: the driver of PostgreSQL knows no option {', '.join(unknown)}"
            + (" (TLS is asked for by ssl=require)" if "sslmode" in unknown else "")
        )
    return parsed


def _unknown_options(url: URL) -> list[str]:
    """What stands behind the `?` though the driver would trip over it."""
    import asyncpg

    known = inspect.signature(asyncpg.connect).parameters.keys() | {"prepared_statement_cache_size"}
    return sorted(url.query.keys() - known)


def _make_folder(url: URL) -> None:
    """The folder of an SQLite file; a store in memory is refused: each connection would have its own."""
    if url.database in (None, "", ":memory:"):
        raise StoreUnavailable("LIVECARD_DATABASE names no file: write sqlite+aiosqlite:///PATH")
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder {folder} cannot be made: {error.strerror}") from error


def _sqlite(url: URL, begin: str, options: dict[str, Any]) -> AsyncEngine:
    """One connection for writing, one for reading: SQLite has one writer at a time anyway.

    `begin`: writers take the lock at once, so that no transaction fails halfway for want of it.
    """
    made = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=30,
        connect_args={} if "async_creator" in options else {"timeout": 10},
        **options,
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "cache_size=-4000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(made.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return made
