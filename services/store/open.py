"""Opens a store by its URL, and migrates it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiosqlite
from sqlalchemy import URL, NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.store.dialect import Dialect
from services.store.errors import NEWER, translated
from services.store.home import check_user, stay_out
from services.store.measured import Measure
from services.store.password import with_password
from services.store.ports import StoreUnavailable
from services.store.postgres import Sessions
from services.store.primary import asked_for, renewal
from services.store.sql import SqlStore
from services.store.tls import with_tls
from services.store.url import parse_url, safe_url
from statemachine.card import DeliveryRules

__all__ = ["migrate", "open_store", "safe_url"]

OLDEST_SQLITE: Final = (3, 35, 0)
"""RETURNING and UPDATE … FROM."""
LAST_WORDS: Final = 1.0
"""Seconds for the thread of a connection that failed; it needs none of them."""
CONNECTING: Final = 5
"""Seconds for one connection to PostgreSQL."""
COMMAND: Final = 30
"""Seconds for one statement."""


async def open_store(
    url: str,
    *,
    slot: int = 0,
    rules: DeliveryRules | None = None,
    pool: int = 8,
    now: str | None = None,
    measure: Measure | None = None,
    must_exist: bool = False,
    **engine: Any,
) -> SqlStore:
    """A store that connects at first use. `pool`: connections to PostgreSQL. `measure`: see `SqlStore`.
    `must_exist`: no SQLite file is made, nor its folder. Raises `StoreUnavailable`.

    `now` replaces the SQL of the clock and `engine` goes to SQLAlchemy (the simulation hands in an
    `async_creator`).
    """
    parsed = parse_url(url)
    rules = rules or DeliveryRules()
    if parsed.get_backend_name() == "postgresql":
        sessions, arguments = _sessions(parsed)
        made = create_async_engine(
            arguments.pop("url"),
            pool_size=pool,
            pool_use_lifo=True,  # the session used last has everything prepared
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            connect_args={**arguments, "command_timeout": COMMAND},
            **engine,
        )
        return SqlStore(
            made,
            Dialect(postgres=True, now=now),
            slot=slot,
            rules=rules,
            sessions=sessions,
            renew=renewal(made),
            measure=measure,
        )
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    file = _file(parsed)
    if must_exist:
        _check_there(file)
    _make_folder(file.parent)
    dialect = Dialect(postgres=False, now=now)
    writer = _sqlite(parsed, "BEGIN IMMEDIATE", engine)
    readers = _sqlite(parsed, "BEGIN", engine)
    return SqlStore(writer, dialect, slot=slot, rules=rules, readers=readers, measure=measure)


async def migrate(
    url: str, *, finish: bool = False, wait: float = 60.0, tell: Callable[[str], None] = lambda _: None
) -> str:
    """Bring the schema to this release, also while services run; the revision it is at then.

    Safe to repeat, and for two at once. `finish`: take away what only the release before needs, too. `wait`:
    seconds for another process that migrates; meanwhile `tell` hears who that is.
    Raises `StoreUnavailable`.
    """
    from alembic.util import CommandError  # slow to import, and services never migrate

    from services.store.migrating import upgrade

    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        _, arguments = _sessions(parsed)  # no deadline for a command: an index may take long
        engine = create_async_engine(arguments.pop("url"), poolclass=NullPool, connect_args=arguments)
    else:
        engine = (await open_store(url)).engine
    try:
        with translated():
            async with engine.connect() as connection:
                return await upgrade(connection, finish=finish, wait=wait, tell=tell)
    except CommandError as error:  # the revision it is at is none of ours
        raise StoreUnavailable(f"{NEWER}: {error}") from error
    finally:
        await engine.dispose()


def _sessions(url: URL) -> tuple[Sessions, dict[str, Any]]:
    """What makes PostgreSQL's sessions, and what SQLAlchemy and the driver are given. SQLAlchemy's own
    statements, at the start of a session and in migrations, have no names: see `Sessions`."""
    stay_out()
    check_user(url)
    plain, _ = with_tls(url)  # wrong files are told at once
    plain, password = with_password(plain)
    unnamed = plain.query.get("statement_cache_size") == "0"
    sessions = Sessions(lambda: {**with_tls(url)[1], **password()}, pooled=True if unnamed else None)
    arguments = {
        "url": plain.difference_update_query(["statement_cache_size", "prepared_statement_cache_size"]),
        "server_settings": {"application_name": "livecard"},
        "timeout": CONNECTING,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,
        **asked_for(plain),
        "async_creator_fn": sessions.connect,
    }
    return sessions, arguments


def _file(url: URL) -> Path:
    """The SQLite file; a store in memory is refused: each connection would have its own."""
    if url.database in (None, "", ":memory:"):
        raise StoreUnavailable("LIVECARD_DATABASE names no file: write sqlite+aiosqlite:///PATH")
    return Path(str(url.database))


def _check_there(file: Path) -> None:
    try:
        there = file.exists()
    except OSError as error:
        raise StoreUnavailable(f"{file} cannot be looked at: {error.strerror}") from error
    if not there:
        raise StoreUnavailable("there is no such file: run livecard init")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder {folder} cannot be made: {error.strerror}") from error


class LettingGo(sqlite3.Connection):
    """Rolls back before it closes: SQLite keeps a connection, and its locks, alive for as long as a cursor
    is halfway through a result, as that of a cancelled task is until it is collected."""

    def close(self) -> None:
        """Safe to repeat."""
        with contextlib.suppress(sqlite3.Error):
            self.rollback()
        super().close()


async def _connected(*where: Any, **how: Any) -> aiosqlite.Connection:
    """A connection; where there can be none, its thread is gone before the loop is to which it would tell."""
    connection = aiosqlite.connect(*where, **how)
    thread = connection._thread  # noqa: SLF001  # nothing public waits for it once connecting has failed
    thread.daemon = True
    try:
        return await connection
    except Exception:  # not when it is cancelled: a slow open would hold the loop up
        thread.join(LAST_WORDS)
        raise


def _sqlite(url: URL, begin: str, options: dict[str, Any]) -> AsyncEngine:
    """One connection for writing, one for reading: SQLite has one writer at a time anyway.

    `begin`: writers take the lock at once, so that no transaction fails halfway for want of it.
    """
    made = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=30,
        connect_args={}
        if "async_creator" in options
        else {"timeout": 10, "factory": LettingGo, "async_creator_fn": _connected},
        **options,
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "cache_size=-4000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(begin)
        cursor.close()

    made.dialect.do_begin = start  # type: ignore[assignment]  # an event costs every statement a look at it
    return made
