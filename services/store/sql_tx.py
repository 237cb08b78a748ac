"""A transaction on an SQL engine: each primitive is one named statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.records import decode_record, encode_record
from services.store.dialect import Dialect, Statement
from services.store.requests import SqlRequests
from services.store.rows import (
    ANY,
    Admission,
    Due,
    InboxKey,
    Locked,
    MemberRow,
    ParkedCount,
    ParkedRow,
    Progress,
    Waiting,
    Writes,
)
from services.store.sessions import SqlSessionsTx
from services.store.sql_operators import SqlOperatorsTx
from services.store.sql_persons import SqlPersonsTx
from services.store.sql_rooms import SqlRoomsTx
from statemachine.card import Card, DeliveryRules, attempt_at
from statemachine.gate import Gate
from statemachine.model import Activity
from statemachine.step import Owed
from statemachine.waits import CLOCK_STEP

_MEMBERS = msgspec.json.Decoder(tuple[str, ...])


_ACTIVITY: Final = len(Activity.__struct_fields__)
_SHARED: Final = tuple(
    map(Activity.__struct_fields__.index, ("activity_id", "state", "revision", "expires_at"))
)


def read_activity(row: Sequence[Any]) -> Activity:
    """A row of ACTIVITY_COLUMNS; SQLite keeps booleans as numbers."""
    activity = Activity(*row)
    activity.close_when_complete = bool(activity.close_when_complete)
    activity.expiry_warned = bool(activity.expiry_warned)
    return activity


def read_card(row: Sequence[Any]) -> Card:
    """A row of CARD_COLUMNS."""
    card = Card(*row)
    card.cannot_lower, card.succeeded = bool(card.cannot_lower), bool(card.succeeded)
    members: Any = card.progress_members
    card.progress_members = _MEMBERS.decode(members) if members else ()
    return card


def read_locked(row: Sequence[Any]) -> Locked:
    """A row of LOCKED_COLUMNS."""
    name, state, revision, expires_at = (row[place] for place in _SHARED)
    appid, template, version, *delivery = row[_ACTIVITY:]
    card = read_card((name, appid, template, version, state, revision, expires_at, *delivery))
    return Locked(read_activity(row[:_ACTIVITY]), card)


class Run(Protocol):
    """Runs statements in one transaction."""

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows."""
        ...

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        ...


class AlchemyRun:
    """Runs statements through SQLAlchemy."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows."""
        result = await self._connection.execute(statement.clause, parameters)
        return result.all() if result.returns_rows else ()

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        return (await self._connection.execute(statement.clause, parameters)).rowcount


class ByName:
    """Runs statements by their names."""

    def __init__(self, run: Run, statements: Mapping[str, Statement], dialect: Dialect) -> None:
        self._run, self._statements, self.dialect = run, statements, dialect

    async def __call__(self, name: str, **parameters: Any) -> Sequence[Any]:
        """The rows."""
        return await self._run(self._statements[name], parameters)

    async def rows(self, name: str, rows: Iterable[Sequence[Any]], **more: Any) -> Sequence[Any]:
        """The rows that a statement answers to its `{rows: …}`."""
        statement = self._statements[name]
        return await self._run(statement, {**self.dialect.bind(statement, rows), **more})

    async def count(self, name: str, **parameters: Any) -> int:
        """How many rows it changed."""
        return await self._run.count(self._statements[name], parameters)


class SqlTx(SqlOperatorsTx, SqlPersonsTx, SqlRequests, SqlRoomsTx, SqlSessionsTx):
    """Implements `services.store.ports.Tx` inside one transaction of `run`'s connection. `counted`: what was
    added to the ledger's counters."""

    def __init__(
        self,
        run: Run,
        dialect: Dialect,
        statements: Mapping[str, Statement],
        slot: int,
        rules: DeliveryRules,
    ) -> None:
        self._run, self._dialect = ByName(run, statements, dialect), dialect
        self._rows = self._run.rows
        self._slot, self._delivery_rules = slot, rules
        self.counted: Counter[str] = Counter()
        waits = {"longest": rules.longest_wait, "closing": rules.longest_closing}
        self._longest = {name: wait + CLOCK_STEP for name, wait in waits.items()}

    async def _some(self, name: str, ids: Iterable[str], **more: Any) -> Sequence[Any]:
        return await self._run(name, ids=self._dialect.many(ids), **more)

    async def now(self) -> int:
        return int((await self._run("now"))[0][0])

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> list[Admission]:
        if not keys:
            return []
        rows = sorted(
            (*key, activity) for key, activity in zip(keys, [a or "" for a in activity_ids], strict=True)
        )
        new = {(row[0], row[1]) for row in await self._rows("admit", rows)}
        rest = [row for row in rows if row[:2] not in new]
        dead = await self._admit_dead(rest, new) if rest else set()
        return ["new" if key in new else "dead" if key in dead else "repeat" for key in keys]

    async def _admit_dead(
        self, rows: Sequence[tuple[str, str, str]], new: set[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Lock the dead ones among these. One that was pruned meanwhile is new: it joins `new`."""
        outcomes = {
            (row[0], row[1]): row[2] for row in await self._rows("inbox_outcomes", [row[:2] for row in rows])
        }
        rows = [row for row in rows if outcomes.get(row[:2], "dead") == "dead"]
        if not rows:
            return set()
        dead = {(row[0], row[1]) for row in await self._rows("admit_dead", [row[:2] for row in rows])}
        gone = [row for row in rows if row[:2] not in dead]
        if gone:  # pruned, or given another outcome by a replay at the same time
            fresh = {(row[0], row[1]) for row in await self._rows("admit", gone)}
            new |= fresh
            gone = [row for row in gone if row[:2] not in fresh]
        return dead | (await self._admit_dead(gone, new) if gone else set())

    async def lock(self, activity_ids: Sequence[str]) -> dict[str, Locked]:
        if not activity_ids:
            return {}
        locked = {row[0]: read_locked(row) for row in await self._some("lock", activity_ids)}
        missing = sorted(set(activity_ids) - locked.keys())
        if missing:
            await self._rows("see", [(name,) for name in missing])
            locked |= {row[0]: read_locked(row) for row in await self._some("lock", missing)}
        return locked

    async def lock_due(self, limit: int) -> list[Locked]:
        return [read_locked(row) for row in await self._run("lock_due", limit=limit)]

    async def lock_unscheduled(self, limit: int) -> list[Locked]:
        return [read_locked(row) for row in await self._run("unscheduled", limit=limit)]

    async def lock_cards(self, activity_ids: Sequence[str]) -> list[Card]:
        if not activity_ids:
            return []
        return [read_card(row) for row in await self._some("lock_cards", activity_ids)]

    async def claim_due(self, rooms: Mapping[str, int], limit: int, narrow: int) -> Due:
        due = Due()
        if not rooms:
            return due
        for *card, generation, reason, until, now in await self._rows(
            "claim", sorted(rooms.items()), limit=limit, narrow=narrow, **self._longest
        ):
            due.cards.append(read_card(card))
            due.gates[card[1]] = Gate(card[1], until, reason=reason, generation=generation)
            due.now = max(due.now, int(now))
        return due

    async def next_attempt(self, appids: Sequence[str]) -> int | None:
        if not appids:
            return None
        apps = [(appid,) for appid in appids]
        ids = self._dialect.many(appids)
        ((later,),) = await self._rows("next_attempt", apps, ids=ids, **self._longest)
        return None if later is None else int(later)

    async def members(self, pairs: Sequence[tuple[str, str]]) -> list[MemberRow]:
        if not pairs:
            return []
        return [
            MemberRow(a, m, s, bool(late), at) for a, m, s, late, at in await self._rows("members", pairs)
        ]

    async def all_members(self, activity_ids: Sequence[str]) -> list[MemberRow]:
        if not activity_ids:
            return []
        rows = await self._some("all_members", activity_ids)
        return [MemberRow(a, m, s, bool(late), at) for a, m, s, late, at in rows]

    async def owed(self, activity_ids: Sequence[str]) -> dict[str, list[Owed]]:
        owed: dict[str, list[Owed]] = {}
        if activity_ids:
            for activity_id, group_openid, doubtful in await self._some("owed", activity_ids):
                owed.setdefault(activity_id, []).append(Owed(group_openid, bool(doubtful)))
        return owed

    async def skipped(self, activity_ids: Sequence[str]) -> dict[str, list[str]]:
        skipped: dict[str, list[str]] = {}
        if activity_ids:
            for activity_id, group_openid in await self._some("skipped", activity_ids):
                skipped.setdefault(activity_id, []).append(group_openid)
        return skipped

    async def waiting(
        self, activity_ids: Sequence[str], before: int = ANY, limit: int = ANY
    ) -> list[Waiting]:
        if not activity_ids:
            return []
        rows = await self._some("waiting", activity_ids, before=before, limit=limit)
        return [Waiting(InboxKey(source, key), size) for source, key, size in rows]

    async def count_parked(self, activity_ids: Sequence[str]) -> dict[str, ParkedCount]:
        if not activity_ids:
            return {}
        return {
            name: ParkedCount(count, size)
            for name, count, size in await self._some("count_parked", activity_ids)
        }

    async def parked(self, keys: Sequence[InboxKey]) -> list[ParkedRow]:
        if not keys:
            return []
        rows = await self._rows("parked", keys)
        return [ParkedRow(a, source, key, at, decode_record(record)) for a, source, key, at, record in rows]

    async def stale_parked(self, before: int, limit: int) -> list[str]:
        return [row[0] for row in await self._run("stale_parked", before=before, limit=limit)]

    async def lock_gates(self, appids: Sequence[str], *, wait: bool) -> dict[str, Gate]:
        if not appids:
            return {}
        rows = await self._some("lock_gates" if wait else "lock_gates_free", appids)
        return {row[0]: Gate(*row) for row in rows}

    async def write(self, writes: Writes) -> None:
        """Everything; each non-empty list is one statement."""
        if writes.wait:  # who waits already does so once, and is counted once
            writes.count("openids.waited", await self._wait(writes.wait))
        fields = msgspec.structs.astuple
        for name, rows in (
            ("outcomes", writes.outcomes),
            ("announced", writes.announced),
            ("opened", [(each.activity_id, *fields(each.opening)) for each in writes.opened]),
            (
                "activities",
                [(*fields(a), due_at, *self._delivery(card)) for a, card, due_at in writes.activities],
            ),
            ("progress", [self._progress(each) for each in writes.progress]),
            ("cards", [(card.activity_id, card.revision, *self._delivery(card)) for card in writes.cards]),
            ("upsert_members", [fields(row) for row in writes.members]),
            ("marks", writes.marks),
            ("park", [(*fields(row)[:4], encode_record(row.record)) for row in writes.park]),
            ("unpark", writes.unpark),
            ("outbox", [fields(row)[:6] for row in writes.outbox]),
            ("attempts", [fields(row) for row in writes.attempts]),
            ("apps", [(appid,) for appid in sorted(set(writes.apps))]),
            ("write_gates", sorted(fields(gate)[:-1] for gate in writes.gates)),  # but `saving_until`
            ("counters", [(self._slot, name, value) for name, value in sorted(writes.counters.items())]),
        ):
            if rows:
                await self._rows(name, rows)
        self.counted.update(writes.counters)

    def _delivery(self, card: Card) -> tuple[Any, ...]:
        """The delivery's columns, and when the card wants a dispatcher."""
        *values, members = msgspec.structs.astuple(card)[_OF_THE_ACTIVITY:]
        progress = msgspec.json.encode(members).decode() if members else ""
        return (*values, progress, attempt_at(card, self._delivery_rules), card.ending)

    def _progress(self, progress: Progress) -> tuple[Any, ...]:
        activity, card = progress
        at = attempt_at(card, self._delivery_rules)
        return (activity.activity_id, activity.done, card.revision, card.retry_at, at, card.behind_since)


_OF_THE_ACTIVITY: Final = Card.__struct_fields__.index("settled")
"""So many fields of a card are its activity's."""
