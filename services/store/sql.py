"""The store on an SQL engine: transactions, reads, and the relay's shards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import cycle
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.store import statements
from services.store.dialect import Dialect, Statement
from services.store.errors import UNMIGRATED, translated, wrong_encoding
from services.store.measured import Measure, MeasuredRun
from services.store.migrating import NEEDED
from services.store.ports import Backlog, StoreLost, StoreUnavailable
from services.store.postgres import Sessions, driver_transaction
from services.store.primary import READ_ONLY
from services.store.rows import (
    ANY,
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
from services.store.sessions import SESSIONS, SqlSessions
from services.store.sql_operators import OPERATORS, SqlOperators
from services.store.sql_pages import OUT_OF_SYNC_POSTGRES, OUT_OF_SYNC_SQLITE, PAGES, SqlPages
from services.store.sql_persons import PERSONS, SqlPersons
from services.store.sql_pulse import PULSE, SqlPulse
from services.store.sql_rooms import ROOMS, SqlRoomsStore
from services.store.sql_tx import AlchemyRun, ByName, Run, SqlTx, read_locked
from services.store.upkeep import UNOPENED_AGE, few_people, is_held
from statemachine.card import DeliveryRules
from statemachine.gate import Gate
from statemachine.states import DONE
from statemachine.waits import CLOCK_STEP

SLOTS: Final = 64
"""Rows of each of the ledger's counters, which are summed up when it is read."""
SLOTS_OF_A_PROCESS: Final = 4


class SqlStore(SqlOperators, SqlPages, SqlPersons, SqlPulse, SqlRoomsStore, SqlSessions):
    """Implements `services.store.ports.Store` on PostgreSQL or SQLite.

    `slot` is where this process begins to add to the ledger (0–63): its transactions take turns at some
    slots from there on, so that neither they nor processes queue for one row. `rules` says when a card wants
    a dispatcher again. `readers`: of SQLite, whose writer takes its lock at once. `sessions`: those of
    PostgreSQL. `renew` throws all connections away. `measure`: who is told how long statements take.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        dialect: Dialect,
        *,
        slot: int,
        rules: DeliveryRules,
        readers: AsyncEngine | None = None,
        sessions: Sessions | None = None,
        renew: Callable[[], None] | None = None,
        measure: Measure | None = None,
    ) -> None:
        self.engine, self.dialect = engine, dialect
        self._sessions, self._renew, self._measure = sessions, renew, measure
        self._readers = readers or engine
        self._slots, self._rules = cycle((slot + each) % SLOTS for each in range(SLOTS_OF_A_PROCESS)), rules
        sources = {
            **statements.TRANSACTION,
            **statements.READS,
            **statements.UPKEEP,
            **OPERATORS,
            **PAGES,
            **PERSONS,
            **PULSE,
            **ROOMS,
            **SESSIONS,
            **(statements.POSTGRES if dialect.postgres else statements.SQLITE),
            "out_of_sync": OUT_OF_SYNC_POSTGRES if dialect.postgres else OUT_OF_SYNC_SQLITE,
        }
        self._statements: Mapping[str, Statement] = {
            name: dialect.statement(name, source.replace("{in shards}", _in_shards(dialect)))
            for name, source in sources.items()
        }

    def transaction(self) -> AbstractAsyncContextManager[SqlTx]:
        return self._transaction()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Library errors become ours; a server that is of no use any more is left, with all connections."""
        try:
            with translated():
                yield
        except StoreLost as error:
            raise self._left(error) from error.__cause__

    def _left(self, error: StoreLost) -> StoreLost:
        if self._renew is not None:
            self._renew()
        return error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[SqlTx]:
        theirs: OSError | None = None
        try:
            async with self._run() as run:
                tx = SqlTx(run, self.dialect, self._statements, next(self._slots), self._rules)
                try:
                    yield tx
                except OSError as error:  # of whoever works in it: the engines' are ours already
                    theirs = error
                    raise
            self._committed(tx.counted)
        except StoreUnavailable:
            if theirs is not None:
                raise theirs from None
            raise

    @asynccontextmanager
    async def _run(self, how: str = "", *, alone: bool = False, reading: bool = False) -> AsyncIterator[Run]:
        """What runs statements in one transaction, of the kind `how` on PostgreSQL. `alone`: it is one
        statement."""
        with self._translated():
            if self._sessions is not None:
                async with driver_transaction(self.engine, self._sessions, how, alone=alone) as run:
                    yield self._measured(run)
            else:
                async with self._readers.connect() if reading else self.engine.begin() as connection:
                    yield self._measured(AlchemyRun(connection))

    def _measured(self, run: Run) -> Run:
        return run if self._measure is None else MeasuredRun(run, self._measure)

    def _committed(self, counters: Mapping[str, int]) -> None:
        if self._measure is not None and counters:
            self._measure.metrics.counted(counters)

    @asynccontextmanager
    async def _reading(self, *, alone: bool = True) -> AsyncIterator[ByName]:
        """One statement, or several in one snapshot."""
        async with self._run("ISOLATION LEVEL REPEATABLE READ READ ONLY", alone=alone, reading=True) as run:
            yield ByName(run, self._statements, self.dialect)

    @asynccontextmanager
    async def _writing(self, *, alone: bool = False) -> AsyncIterator[ByName]:
        """A transaction. `alone`: it is one statement."""
        async with self._run(alone=alone) as run:
            yield ByName(run, self._statements, self.dialect)

    async def ping(self) -> None:
        async with self._run(alone=True, reading=True) as run:
            found = await run(self._statements["standing"], {})
        at = ""
        for version, writable, encoding in found:
            if not writable:
                raise self._left(StoreLost(READ_ONLY))
            if encoding != "UTF8":
                raise StoreUnavailable(wrong_encoding(encoding))
            at = max(at, version)
        if at < NEEDED:  # a newer schema only adds: the release before runs on it (design.md §5)
            raise StoreUnavailable(f"{UNMIGRATED} (it is at {at or 'nothing'}, needed is {NEEDED})")

    async def close(self) -> None:
        await self.engine.dispose()
        if self._readers is not self.engine:
            await self._readers.dispose()

    async def next_due(self) -> int | None:
        async with self._reading() as run:
            due: int | None = (await run("next_due"))[0][0]
            return due

    async def backlog(self) -> Backlog:
        async with self._reading() as run:
            closing = self._rules.longest_closing + CLOCK_STEP
            return Backlog(*map(int, (await run("backlog", closing=closing))[0]))

    async def totals(self) -> tuple[dict[str, int], int, int, int]:
        async with self._reading() as run:
            values = {name: int(value) for name, value in await run("totals")}
        return values, values.pop("=pending"), values.pop("=parked"), values.pop("=unbound")

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        async with self._writing() as run:
            # The shards first: they put relays that come at once in a row.
            owners = {
                shard: who if is_held(left, lease) else "" for shard, who, left in await run("lock_shards")
            }
            await run("sign_on", owner=owner, lease=lease)
            await run("forget_relays", lease=lease)
            relays = int((await run("count_relays"))[0][0])
            share = -(-SHARDS // max(1, relays))
            mine = [shard for shard, each in owners.items() if each == owner][:share]
            free = [shard for shard, each in owners.items() if not each]
            mine = sorted(mine + free[: share - len(mine)])
            changes = dict.fromkeys(mine, owner)
            changes |= {shard: "" for shard, each in owners.items() if each == owner and shard not in changes}
            if changes:
                await run.rows("write_shards", changes.items(), lease=lease)
        return mine

    async def release_shards(self, owner: str) -> None:
        async with self._writing() as run:
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
            async with self._writing(alone=True) as run:
                await run.rows("delete_outbox", [(seq,) for seq in seqs])

    async def open_gates(self, appids: Sequence[str], reason: str | None) -> list[str]:
        async with self._writing() as run:
            rows = await run("closed_gates", ids=self.dialect.many(appids), reason=reason or "")
            closed = [row[0] for row in rows]
            if closed:
                await run("open_gates", ids=self.dialect.many(closed))
        return closed

    async def save_quota(self, appid: str, until: int) -> bool:
        async with self._writing(alone=True) as run:
            return bool(await run("save_quota", appid=appid, until=until))

    async def all_gates(self) -> list[Gate]:
        async with self._reading() as run:
            return [Gate(*row) for row in await run("all_gates")]

    async def gate(self, appid: str) -> tuple[Gate, int]:
        async with self._reading() as run:
            *gate, now = (await run("gate", appid=appid))[0]
            return (Gate(appid) if gate[0] is None else Gate(*gate)), int(now)

    async def outcomes(self, keys: Sequence[InboxKey]) -> dict[InboxKey, str]:
        if not keys:
            return {}
        async with self._reading() as run:
            rows = await run.rows("inbox_outcomes", keys)
            return {InboxKey(source, name): outcome for source, name, outcome in rows}

    async def newest_event(self) -> int | None:
        async with self._reading() as run:
            newest: int | None = (await run("newest_event"))[0][0]
            return newest

    async def prune(
        self, *, inbox: int, attempts: int, activities: int, bindings: int = ANY, limit: int
    ) -> dict[str, int]:
        pruned = {}
        for table, age in (("inbox", inbox), ("attempts", attempts), ("bindings", bindings)):
            async with self._writing() as run:
                pruned[table] = await run.count(f"prune_{table}", age=age, limit=limit)
        for table in ("requests", "sessions"):
            async with self._writing() as run:
                pruned[table] = await run.count(f"prune_{table}", limit=limit)
        async with self._writing() as run:
            old = few_people(await run("old_activities", age=activities, limit=limit), limit)
            pending = sum(count for count in old.values() if count > 0)
            pruned["members"], pruned["unbound"], pruned["activities"] = 0, 0, len(old)
            if old:
                ids = self.dialect.many(old)
                pruned["members"] = await run.count("delete_members", ids=ids)
                pruned["unbound"] = await run.count("delete_unbound", ids=ids)
                await run("delete_attempts", ids=ids)
                await run("delete_activities", ids=ids)
            fates = (("openids.dropped", pruned["unbound"]), ("revisions.expired", pending))
            slot = next(self._slots)
            if counted := [(slot, name, count) for name, count in fates if count]:
                await run.rows("counters", counted)
        self._committed({name: count for _, name, count in counted})
        async with self._writing() as run:
            unopened = [row[0] for row in await run("unopened_activities", age=UNOPENED_AGE, limit=limit)]
            gone = await run.count("delete_unopened", ids=self.dialect.many(unopened)) if unopened else 0
            pruned["unopened"] = gone
        return pruned

    async def show(self, activity_id: str) -> Seen | None:
        async with self._reading(alone=False) as run:
            found = await run("show_activity", id=activity_id)
            if not found:
                return None
            *locked, due_at, title, publisher, opengid, open_single_roomid, seen_at, opened_at = found[0]
            activity, card = read_locked(locked)
            members = await run("show_members", id=activity_id)
            skipped = tuple(each[0] for each in await run("show_skipped", id=activity_id))
            parked = Parked(*(await run("show_parked", id=activity_id))[0])
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
                now=int((await run("now"))[0][0]),
            )

    async def openings(self, limit: int, activity_id: str | None = None) -> list[OpenedActivity]:
        async with self._reading(alone=False) as run:
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
