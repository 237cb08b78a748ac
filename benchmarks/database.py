"""All the SQL of the benchmarks but their peers': a database of a line's own, and questions about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from scripts.engines.postgres import binaries

STATISTICS = "pg_stat_statements"


def preloaded() -> dict[str, str]:
    """The setting of a server that counts its statements, where the module is installed."""
    folder = binaries()
    found = folder is not None and any(folder.parent.glob(f"lib*/**/{STATISTICS}.*"))
    return {"shared_preload_libraries": STATISTICS} if found else {}


class Spent(NamedTuple):
    """Statements run, and the milliseconds that they took in the server."""

    calls: int
    ms: float


class Database:
    """One line's database."""

    def __init__(self, name: str, url: str, connection: asyncpg.Connection[Any], *, counts: bool) -> None:
        self.name, self.url, self.counts = name, url, counts
        self._connection = connection

    @property
    def dsn(self) -> str:
        """The URL as asyncpg and libpq read it."""
        return self.url.replace("+asyncpg", "")

    async def applied(self) -> int:
        """Events applied so far."""
        query = "SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'events.applied'"
        return int(await self._connection.fetchval(query))

    async def unpublished(self) -> int:
        """Changes that the relays have not published yet."""
        return int(await self._connection.fetchval("SELECT count(*) FROM outbox"))

    async def updates(self) -> tuple[int, int]:
        """How many rows of `activities` were updated, and how many of them without touching an index."""
        counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'activities'"
        row = await self._connection.fetchrow(counts)
        return int(row[0]), int(row[1])

    async def transactions(self) -> int:
        """Transactions ended so far, ours too."""
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(await self._connection.fetchval(query))

    async def spent(self, like: str = "") -> Spent | None:
        """What the statements that match a pattern took since they were last forgotten; None: not counted."""
        if not self.counts:
            return None
        query = f"""
            SELECT coalesce(sum(calls), 0), coalesce(sum(total_exec_time), 0) FROM {STATISTICS} s
            JOIN pg_database d ON d.oid = s.dbid
            WHERE d.datname = current_database() AND query ~* $1 AND query !~ '{STATISTICS}'"""
        row = await self._connection.fetchrow(query, like)
        return Spent(int(row[0]), float(row[1]))

    async def forget(self) -> None:
        """Begin to count anew."""
        if self.counts:
            await self._connection.execute(f"SELECT {STATISTICS}_reset()")

    async def vacuum(self) -> None:
        """What autovacuum would have done by and by after a bulk load."""
        await self._connection.execute("VACUUM ANALYZE")

    async def multiply(self, activity: str, count: int) -> None:
        """Copy an activity's rows, whatever their columns, so that `events.name(0)` … have been opened."""
        for table in ("activities", "members", "inbox"):
            listed = await self._connection.fetch(
                """SELECT column_name FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = $1
                  AND is_generated = 'NEVER' AND is_identity = 'NO' ORDER BY ordinal_position""",
                table,
            )
            values = {row[0]: row[0] for row in listed}
            values["activity_id"] = "'activity-' || lpad(n::text, 7, '0')"
            if table == "inbox":
                values["id"] = "id || '-' || n"
            await self._connection.execute(
                f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
                f"FROM {table}, generate_series(0, {count - 1}) n WHERE activity_id = $1",
                activity,
            )
        await self.vacuum()


@asynccontextmanager
async def a_database(server: str, name: str) -> AsyncIterator[Database]:
    """A new database on the server of that URL, removed at the end."""
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    admin = await asyncpg.connect(server.replace("+asyncpg", ""))
    await admin.execute(f'CREATE DATABASE "{name}"')
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        counts = STATISTICS in await connection.fetchval("SHOW shared_preload_libraries")
        if counts:
            await connection.execute(f"CREATE EXTENSION {STATISTICS}")
        yield Database(name, url, connection, counts=counts)
    finally:
        await connection.close()
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


async def version(server: str) -> str:
    """The server's version."""
    connection = await asyncpg.connect(server.replace("+asyncpg", ""))
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
