"""The store on an SQL engine: transactions, reads, and the relay's shards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.store import statements
from services.store.dialect import Dialect, Statement
from services.store.errors import UNMIGRATED, translated
from services.store.migrating import NEEDED
from services.store.ports import Backlog, StoreUnavailable
from services.store.postgres import driver_transaction
from services.store.rows import (
    CONFIRMED,
    OWED,
    PAGE_SIZE,
    SHARDS,
    SHOWN_ATTEMPTS,
    Attempt,
    InboxKey,
    MemberCounts,
    OpenedActivity,
    OutboxRow,
    Parked,
    Seen,
)
from services.store.sql_tx import Run, SqlTx, by_sqlalchemy, read_locked
from services.store.upkeep import UNOPENED_AGE, few_members
from statemachine.card import DeliveryRules
from statemachine.gate import Gate
from statemachine.states import DONE

SLOTS: Final = 64
"""Rows of each of the ledger's counters, which are summed up when it is read."""
SLOTS_OF_A_PROCESS: Final = 4


class SqlStore:
    """Implements `services.store.ports.Store` on PostgreSQL or SQLite.

    `slot` is where this process begins to add to the ledger (0–63): its transactions take turns at some
    slots from there on, so that neither they nor processes queue for one row. `rules` says when a card wants
    a dispatcher again.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        dialect: Dialect,
        *,
        slot: int,
        rules: DeliveryRules,
        readers: AsyncEngine | None = None,
    ) -> None:
        self.engine, self.dialect = engine, dialect
        self._readers = readers or engine
        self._slots, self._rules = cycle((slot + each) % SLOTS for each in range(SLOTS_OF_A_PROCESS)), rules
        claim = statements.CLAIM_POSTGRES if dialect.postgres else statements.CLAIM_SQLITE
        sources = {
            **statements.TRANSACTION,
            **statements.READS,
            **statements.UPKEEP,
            "claim": claim,
        }
        self._statements: Mapping[str, Statement] = {
            name: dialect.statement(name, source.replace("{in shards}", _in_shards(dialect)))
            for name, source in sources.items()
        }

    def transaction(self) -> AbstractAsyncContextManager[SqlTx]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[SqlTx]:
        with translated():
            if self.dialect.postgres:
                async with driver_transaction(self.engine) as run:
                    yield self._tx(run)
            else:
                async with self.engine.begin() as connection:
                    yield self._tx(by_sqlalchemy(connection))

    def _tx(self, run: Run) -> SqlTx:
        return SqlTx(run, self.dialect, self._statements, next(self._slots), self._rules)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Callable[..., Any]]:
        with translated():
            async with self._readers.connect() as connection:

                async def run(name: str, **parameters: Any) -> Any:
                    return await connection.execute(self._statements[name].clause, parameters)

                yield run

    @asynccontextmanager
    async def _writing(
        self, *, alone: bool = False
    ) -> AsyncIterator[tuple[AsyncConnection, Callable[..., Any]]]:
        """A transaction. `alone`: it is one statement, for which PostgreSQL needs no BEGIN and COMMIT."""
        engine = self._readers if alone and self.dialect.postgres else self.engine
        with translated():
            async with engine.begin() as connection:

                async def run(name: str, **parameters: Any) -> Any:
                    return await connection.execute(self._statements[name].clause, parameters)

                yield connection, run

    async def ping(self) -> None:
        with translated():
            async with self._readers.connect() as connection:
                found = (
                    (await connection.exec_driver_sql("SELECT version_num FROM alembic_version"))
                    .scalars()
                    .all()
                )
        at = max(found, default="")
        if at < NEEDED:  # a newer schema only adds: the release before runs on it (design.md §5)
            raise StoreUnavailable(f"{UNMIGRATED} (it is at {at or 'nothing'}, needed is {NEEDED})")

    async def close(self) -> None:
        await self.engine.dispose()
        if self._readers is not self.engine:
            await self._readers.dispose()

    async def next_due(self) -> int | None:
        async with self._reading() as run:
            due: int | None = (await run("next_due")).scalar_one()
            return due

    async def backlog(self) -> Backlog:
        async with self._reading() as run:
            return Backlog(*map(int, (await run("backlog")).one()))

    async def totals(self) -> tuple[dict[str, int], int, int]:
        async with self._reading() as run:
            values = {name: int(value) for name, value in await run("totals")}
        return values, values.pop("=pending"), values.pop("=parked")

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        async with self._writing() as (connection, run):
            # The shards first: they put relays that come at once in a row.
            owners: dict[int, str] = dict((await run("lock_shards")).all())
            await run("sign_on", owner=owner, lease=lease)
            await run("forget_relays")
            relays = int((await run("count_relays")).scalar_one())
            share = -(-SHARDS // max(1, relays))
            mine = [shard for shard, each in owners.items() if each == owner][:share]
            free = [shard for shard, each in owners.items() if not each]
            mine = sorted(mine + free[: share - len(mine)])
            changes = dict.fromkeys(mine, owner)
            changes |= {shard: "" for shard, each in owners.items() if each == owner and shard not in changes}
            statement = self._statements["write_shards"]
            if changes:
                bound = self.dialect.bind(statement, list(changes.items()))
                await connection.execute(statement.clause, {**bound, "lease": lease})
        return mine

    async def release_shards(self, owner: str) -> None:
        async with self._writing() as (_, run):
            await run("lock_shards")
            await run("free_shards", owner=owner)
            await run("sign_off", owner=owner)

    async def outbox(self, shards: Sequence[int], limit: int) -> list[OutboxRow]:
        if not shards:
            return []
        async with self._reading() as run:
            rows = await run("outbox_page", shards=self.dialect.many(shards), limit=limit, size=PAGE_SIZE)
            return [OutboxRow(*row) for row in rows]

    async def delete_outbox(self, seqs: Sequence[int]) -> None:
        if seqs:
            statement = self._statements["delete_outbox"]
            async with self._writing(alone=True) as (connection, _):
                await connection.execute(
                    statement.clause, self.dialect.bind(statement, [(seq,) for seq in seqs])
                )

    async def open_gates(self, appids: Sequence[str], reason: str | None) -> list[str]:
        async with self._writing() as (_, run):
            rows = await run("closed_gates", ids=self.dialect.many(appids), reason=reason or "")
            closed = [row[0] for row in rows]
            if closed:
                await run("open_gates", ids=self.dialect.many(closed))
        return closed

    async def all_gates(self) -> list[Gate]:
        async with self._reading() as run:
            return [Gate(*row) for row in await run("all_gates")]

    async def outcomes(self, keys: Sequence[InboxKey]) -> dict[InboxKey, str]:
        if not keys:
            return {}
        statement = self._statements["inbox_outcomes"]
        async with self._reading() as run:
            rows = await run(statement.name, **self.dialect.bind(statement, keys))
            return {InboxKey(source, name): outcome for source, name, outcome in rows}

    async def prune(self, *, inbox: int, attempts: int, activities: int, limit: int) -> dict[str, int]:
        pruned = {}
        for table, age in (("inbox", inbox), ("attempts", attempts)):
            async with self._writing() as (_, run):
                pruned[table] = (await run(f"prune_{table}", age=age, limit=limit)).rowcount
        async with self._writing() as (connection, run):
            old = few_members((await run("old_activities", age=activities, limit=limit)).all(), limit)
            pending = sum(count for count in old.values() if count > 0)
            if pending:
                counters = self._statements["counters"]
                row = (next(self._slots), "revisions.expired", pending)
                await connection.execute(counters.clause, self.dialect.bind(counters, [row]))
            pruned["members"], pruned["activities"] = 0, len(old)
            if old:
                ids = self.dialect.many(old)
                pruned["members"] = (await run("delete_members", ids=ids)).rowcount
                await run("delete_attempts", ids=ids)
                await run("delete_activities", ids=ids)
        async with self._writing() as (_, run):
            unopened = [row[0] for row in await run("unopened_activities", age=UNOPENED_AGE, limit=limit)]
            gone = await run("delete_unopened", ids=self.dialect.many(unopened)) if unopened else None
            pruned["unopened"] = gone.rowcount if gone is not None else 0
        return pruned

    async def show(self, activity_id: str) -> Seen | None:
        async with self._reading() as run:
            row = (await run("show_activity", id=activity_id)).one_or_none()
            if row is None:
                return None
            *locked, due_at, title, publisher, opengid, open_single_roomid, seen_at, opened_at = row
            activity, card = read_locked(locked)
            members = (await run("show_members", id=activity_id)).all()
            skipped = tuple(each[0] for each in await run("show_skipped", id=activity_id))
            parked = Parked(*(await run("show_parked", id=activity_id)).one())
            gates = [Gate(*each) for each in await run("gates", ids=self.dialect.many([card.appid]))]
            tried = await run("show_attempts", id=activity_id, limit=SHOWN_ATTEMPTS)
            return Seen(
                activity=activity,
                card=card,
                due_at=due_at,
                title=title,
                publisher=publisher,
                opengid=opengid,
                open_single_roomid=open_single_roomid,
                seen_at=seen_at,
                opened_at=opened_at,
                members=count_members(members, skipped),
                gate=gates[0] if gates else None,
                parked=parked,
                attempts=tuple(Attempt(*each) for each in tried),
                now=int((await run("now")).scalar_one()),
            )

    async def openings(self, limit: int, activity_id: str | None = None) -> list[OpenedActivity]:
        async with self._reading() as run:
            if activity_id is None:
                rows = await run("openings", limit=limit)
            else:
                rows = await run("opening", id=activity_id)
            found = [OpenedActivity(*row) for row in rows]
            listed: dict[str, list[str]] = {each.activity_id: [] for each in found if each.choose == "listed"}
            for name, member in await run("listed", ids=self.dialect.many(listed)) if listed else ():
                listed[name].append(member)
        return [
            msgspec.structs.replace(each, listed=tuple(listed.get(each.activity_id, ()))) for each in found
        ]

    async def attempts(self, activity_id: str, limit: int) -> list[Attempt]:
        async with self._reading() as run:
            return [Attempt(*row) for row in await run("show_attempts", id=activity_id, limit=limit)]


def count_members(rows: Iterable[Sequence[Any]], skipped: tuple[str, ...]) -> MemberCounts:
    """(state, late, delivered, count) of each kind of members, added up."""
    pending = done = late = owed = confirmed = 0
    for state, was_late, delivered, count in rows:
        if state != DONE:
            pending += count
            continue
        done += count
        if was_late:
            late += count
        else:
            owed += count if delivered == OWED else 0
            confirmed += count if delivered == CONFIRMED else 0
    return MemberCounts(pending, done, late, owed, confirmed, skipped)


def _in_shards(dialect: Dialect) -> str:
    return (
        "= ANY(CAST(:shards AS bigint[]))"
        if dialect.postgres
        else "IN (SELECT value FROM json_each(:shards))"
    )
