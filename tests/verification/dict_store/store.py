"""The store in dicts: the same promises without a database, for fast tests and the simulation.

Locks are held until a transaction ends, and what it writes is kept back until then, so leaving it by
an exception leaves nothing. It reads no clock: `now` (µs) is handed in. `pause` is awaited before
each primitive, where another process may come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Self

import msgspec

from contracts.records import encode_record
from services.store.ports import StoreUnavailable
from services.store.rows import (
    ANY,
    SKIPPED,
    Admission,
    Due,
    InboxKey,
    Locked,
    MemberRow,
    ParkedCount,
    ParkedRow,
    Waiting,
    Writes,
)
from statemachine.card import Card, DeliveryRules
from statemachine.gate import PROBED, Gate, as_believed, saves
from statemachine.model import Activity
from statemachine.step import Owed
from statemachine.waits import believed
from tests.verification.dict_store.persons import PersonsTx
from tests.verification.dict_store.reads import Reads
from tests.verification.dict_store.requests import MemoryRequests
from tests.verification.dict_store.rooms import RoomsTx
from tests.verification.dict_store.sessions import SessionsTx
from tests.verification.dict_store.tables import Row, Tables, copied

LOCK_TIMEOUT: Final = 5.0
"""Seconds, as PostgreSQL's sessions have it."""
Pause = Callable[[], Awaitable[None] | None]
"""None: nobody comes in between, so that nothing is waited for."""


class MemoryTx(MemoryRequests, PersonsTx, SessionsTx, RoomsTx):
    """One transaction over `Tables`."""

    def __init__(self, tables: Tables, now: Callable[[], int], pause: Pause | None) -> None:
        super().__init__()
        self._tables, self._now, self._pause = tables, now, pause
        self._held: list[Hashable] = []
        self._admitted: dict[InboxKey, str] = {}
        self._seen: set[str] = set()
        self._writes: list[Writes] = []
        self.changed_requests = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                await self._step()  # the commit is a step of its own
                self.commit()
        finally:
            self.release()

    async def _step(self) -> None:
        if self._pause is not None and (waiting := self._pause()):
            await waiting

    async def _lock(self, key: Hashable) -> None:
        locks = self._tables.locks
        if self._lock_free(key):
            return
        try:
            async with asyncio.timeout(LOCK_TIMEOUT):
                await locks.take(key, self)
        except TimeoutError:
            raise StoreUnavailable("a row stayed locked for too long") from None
        self._held.append(key)

    def _lock_free(self, key: Hashable) -> bool:
        locks = self._tables.locks
        if key in locks.holder:
            return locks.holder[key] is self
        locks.holder[key] = self
        self._held.append(key)
        return True

    def release(self) -> None:
        """Let go of every lock."""
        for key in self._held:
            self._tables.locks.give(key)
        self._held.clear()

    def commit(self) -> None:
        """What was admitted, seen and written becomes true, all at once."""
        now = self._now()
        self._tables.admit(self._admitted, now)
        for name in self._seen:
            self._tables.see(name, now)
        self._tables.change_requests(self.changed_requests)
        for writes in self._writes:
            self._tables.write(writes, now)
        self.commit_rooms(now)
        self.commit_sessions(now)
        self.commit_persons(now)

    async def now(self) -> int:
        await self._step()
        return self._now()

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> list[Admission]:
        await self._step()
        where = dict(zip(keys, activity_ids, strict=True))
        answers: dict[InboxKey, Admission] = {}
        for key in sorted(where):
            await self._lock(("inbox", key))
            entry = self._tables.inbox.get(key)
            if entry is None:
                answers[key] = "new"
                self._admitted[key] = where[key] or ""
            else:
                answers[key] = "dead" if entry.outcome == "dead" else "repeat"
        return [answers[key] for key in keys]

    async def lock(self, activity_ids: Sequence[str]) -> dict[str, Locked]:
        await self._step()
        found = {}
        for name in sorted(set(activity_ids)):
            await self._lock(("activity", name))
            row = self._tables.rows.get(name)
            if row is None:
                self._seen.add(name)
            found[name] = copied(row) if row else Locked(Activity(name), Card(name))
        return found

    def _free_rows(self, rows: Iterable[Row], limit: int) -> list[Row]:
        taken: list[Row] = []
        for row in rows:
            if len(taken) >= limit:
                break
            if self._lock_free(("activity", row.activity.activity_id)):
                taken.append(row)
        return taken

    async def lock_due(self, limit: int) -> list[Locked]:
        await self._step()
        now = self._now()
        apps: dict[str, list[Row]] = {}
        for row in self._tables.rows.values():
            if row.due_at is not None and row.due_at <= now:
                apps.setdefault(row.card.appid, []).append(row)
        for rows in apps.values():
            rows.sort(key=lambda row: (row.due_at or 0, row.activity.activity_id))
        latest = sorted(apps.values(), key=lambda rows: rows[0].due_at or 0)[:limit]
        taken = [row for rows in latest for row in self._free_rows(rows, limit // len(latest))]
        return [copied(row) for row in taken]

    async def lock_unscheduled(self, limit: int) -> list[Locked]:
        await self._step()
        rows = (row for row in self._tables.rows.values() if row.activity.state and row.unscheduled)
        return [copied(row) for row in self._free_rows(rows, limit)]

    async def lock_cards(self, activity_ids: Sequence[str]) -> list[Card]:
        await self._step()
        cards = []
        for name in sorted(set(activity_ids)):
            if name not in self._tables.rows:
                continue
            await self._lock(("activity", name))
            row = self._tables.rows.get(name)
            if row is not None and row.activity.state:
                cards.append(copied(row).card)
        return cards

    async def claim_due(self, rooms: Mapping[str, int], limit: int, narrow: int) -> Due:
        await self._step()
        now, due = self._now(), Due()
        ranked = []
        for appid, width in sorted(rooms.items()):
            gate = self._tables.gates.get(appid)
            if gate is None or self._closed(gate, now):
                continue
            room = 1 if gate.reason in PROBED else min(width, narrow) if gate.reason else width
            rows = [row for row in self._tables.rows.values() if self._due(row, appid, now)]
            if saves(gate, now):
                rows = [row for row in rows if row.ending]
            rows.sort(key=lambda row: _since(row, now))
            ending = self._free_rows((row for row in rows if row.ending), room)
            others = self._free_rows((row for row in rows if not row.ending), room)
            ranked += [
                (turn, not row.ending, _since(row, now), row)
                for turn, row in enumerate([*ending, *others][:room])
            ]
            due.gates[appid] = msgspec.structs.replace(gate)
        taken = [row for *_, row in sorted(ranked, key=lambda each: each[:3])[:limit]]
        due.cards = [copied(row).card for row in taken]
        due.gates = {card.appid: due.gates[card.appid] for card in due.cards}
        due.now = now
        return due

    def _closed(self, gate: Gate, now: int) -> bool:
        return as_believed(gate, now, self._tables.rules.longest_closing).closed_until > now

    def _due(self, row: Row, appid: str, now: int) -> bool:
        if row.card.appid != appid or row.attempt_at is None or row.activity.expires_at <= now:
            return False
        longest = self._tables.rules.longest_wait
        return all(believed(at, now, longest) <= now for at in (row.attempt_at, row.card.lease_until))

    async def next_attempt(self, appids: Sequence[str]) -> int | None:
        await self._step()
        now = self._now()
        gates = [gate for appid, gate in self._tables.gates.items() if appid in appids]
        closed = {gate.appid: gate.closed_until for gate in gates if self._closed(gate, now)}
        let_in = {gate.appid for gate in gates} - closed.keys()
        longest = self._tables.rules.longest_wait
        times = [
            believed(row.attempt_at, now, longest)
            for row in self._tables.rows.values()
            if row.card.appid in let_in and row.attempt_at and row.activity.expires_at > now
        ]
        times += closed.values()
        return min((at - now for at in times if at > now), default=None)

    async def members(self, pairs: Sequence[tuple[str, str]]) -> list[MemberRow]:
        await self._step()
        found = []
        for activity_id, group_openid in pairs:
            row = self._tables.rows.get(activity_id)
            member = row.members.get(group_openid) if row else None
            if member is not None:
                found.append(MemberRow(activity_id, group_openid, member.state, member.late, member.done_at))
        return found

    async def all_members(self, activity_ids: Sequence[str]) -> list[MemberRow]:
        await self._step()
        return [
            MemberRow(name, who, member.state, member.late, member.done_at)
            for name in activity_ids
            if name in self._tables.rows
            for who, member in self._tables.rows[name].members.items()
        ]

    async def owed(self, activity_ids: Sequence[str]) -> dict[str, list[Owed]]:
        await self._step()
        owed: dict[str, list[Owed]] = {}
        for name in activity_ids:
            row = self._tables.rows.get(name)
            if row is not None and (members := row.owed()):
                owed[name] = members
        return owed

    async def skipped(self, activity_ids: Sequence[str]) -> dict[str, list[str]]:
        await self._step()
        named = {name: self._tables.rows[name] for name in activity_ids if name in self._tables.rows}
        skipped = {
            name: sorted(who for who, member in row.members.items() if member.delivered == SKIPPED)
            for name, row in named.items()
        }
        return {name: members for name, members in skipped.items() if members}

    async def waiting(
        self, activity_ids: Sequence[str], before: int = ANY, limit: int = ANY
    ) -> list[Waiting]:
        await self._step()
        wanted = set(activity_ids)
        found = [
            Waiting(key, len(encode_record(row.record)))
            for key, row in self._tables.parked.items()
            if row.activity_id in wanted and row.parked_at <= before
        ]
        return found[:limit]

    async def count_parked(self, activity_ids: Sequence[str]) -> dict[str, ParkedCount]:
        found: dict[str, ParkedCount] = {}
        for row in self._tables.parked.values():  # no step: under their lock nobody changes them
            if row.activity_id in activity_ids:
                size = len(encode_record(row.record))
                found[row.activity_id] = found.get(row.activity_id, ParkedCount()).joined(size)
        return found

    async def parked(self, keys: Sequence[InboxKey]) -> list[ParkedRow]:
        await self._step()
        wanted = set(keys)
        return [row for key, row in self._tables.parked.items() if key in wanted]

    async def stale_parked(self, before: int, limit: int) -> list[str]:
        await self._step()
        names = sorted({row.activity_id for row in self._tables.parked.values() if row.parked_at <= before})
        unopened = [self._tables.rows[name] for name in names if not self._tables.rows[name].activity.state]
        return [row.activity.activity_id for row in self._free_rows(unopened, limit)]

    async def lock_gates(self, appids: Sequence[str], *, wait: bool) -> dict[str, Gate]:
        await self._step()
        gates = {}
        for appid in sorted(set(appids)):
            if appid not in self._tables.gates:
                continue
            if wait:
                await self._lock(("gate", appid))
            elif not self._lock_free(("gate", appid)):
                continue
            gates[appid] = msgspec.structs.replace(self._tables.gates[appid])
        return gates

    async def write(self, writes: Writes) -> None:
        await self._step()
        self._writes.append(writes)


def _since(row: Row, now: int) -> tuple[bool, int]:
    """Since when a card that is due is so: what lies too far ahead was written before the others."""
    at = row.attempt_at or 0
    return at <= now, at


class MemoryStore(Reads):
    """Implements `services.store.ports.Store`; reads and upkeep are `Reads`'."""

    def __init__(
        self, now: Callable[[], int], *, rules: DeliveryRules | None = None, pause: Pause | None = None
    ) -> None:
        super().__init__(now, rules or DeliveryRules())
        self.pause = pause

    def transaction(self) -> AbstractAsyncContextManager[MemoryTx]:
        return MemoryTx(self, self.clock, self.pause)

    async def ping(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to give back."""
