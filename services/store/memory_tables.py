"""The dict store's tables, what a commit does to them, and the reads that need no lock."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.store.ports import Backlog
from services.store.rows import (
    CONFIRMED,
    OWED,
    PAGE_SIZE,
    SET_ASIDE,
    SHARDS,
    Attempt,
    Card,
    Gate,
    InboxKey,
    OutboxRow,
    Owed,
    ParkedRow,
    Writes,
)
from statemachine.model import Activity
from statemachine.states import DONE, ENDED

UNOPENED_AGE = 3_600_000_000


class Locks:
    """Row locks: who holds each, who waits, first come first served."""

    def __init__(self) -> None:
        self.holder: dict[Hashable, object] = {}
        self._waiting: defaultdict[Hashable, deque[asyncio.Future[None]]] = defaultdict(deque)

    async def take(self, key: Hashable, who: object) -> None:
        """Wait for the lock and hold it."""
        while key in self.holder:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[key].append(turn)
            await turn
        self.holder[key] = who

    def give(self, key: Hashable) -> None:
        """Let go, and wake whoever waits first."""
        self.holder.pop(key, None)
        waiting = self._waiting.get(key)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if not waiting:
            self._waiting.pop(key, None)


class MemberEntry(msgspec.Struct):
    """A row of `members`."""

    state: str
    late: bool
    done_at: int | None
    delivered: int = OWED
    doubtful: bool = False


class InboxEntry(msgspec.Struct):
    """A row of `inbox`."""

    activity_id: str
    outcome: str
    reason: str
    received_at: int


class Row(msgspec.Struct):
    """A row of `activities`, with its members."""

    activity: Activity
    card: Card
    seen_at: int
    due_at: int | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    members: dict[str, MemberEntry] = msgspec.field(default_factory=dict)

    @property
    def behind(self) -> bool:
        """The partial index's predicate."""
        return self.activity.revision > self.card.settled or self.card.suspect_at is not None

    def owed(self) -> list[Owed]:
        """Members to tell WeChat about, oldest first."""
        found = [
            (member.done_at or 0, who, member.doubtful)
            for who, member in self.members.items()
            if member.state == DONE and not member.late and member.delivered == OWED
        ]
        return [Owed(who, doubtful) for _, who, doubtful in sorted(found)]


def copy_card(row: Row) -> Card:
    """The card with the lifecycle's columns as they are now."""
    activity = row.activity
    return msgspec.structs.replace(
        row.card,
        state=activity.state,
        revision=activity.revision,
        expires_at=activity.expires_at,
        end_known_at=activity.end_known_at,
    )


class Tables:
    """Everything there is, and every read of `services.store.ports.Store`."""

    def __init__(self, now: Callable[[], int], repair_after: int) -> None:
        self.clock, self._repair_after = now, repair_after
        self.locks = Locks()
        self.inbox: dict[InboxKey, InboxEntry] = {}
        self.rows: dict[str, Row] = {}
        self.parked: dict[InboxKey, ParkedRow] = {}
        self.outbox_rows: dict[int, OutboxRow] = {}
        self.log: list[Attempt] = []
        self.gates: dict[str, Gate] = {}
        self.ledger: Counter[str] = Counter()
        self.relays: dict[str, int] = {}
        self.leases: dict[int, tuple[str, int]] = dict.fromkeys(range(SHARDS), ("", 0))
        self._seq = 0

    def admit(self, keys: Mapping[InboxKey, str], now: int) -> None:
        """Insert inbox rows."""
        for key, activity_id in keys.items():
            self.inbox[key] = InboxEntry(activity_id, "applied", "", now)

    def see(self, activity_id: str, now: int) -> None:
        """Insert an unopened row."""
        card = Card(activity_id, "", "", "", "", 0, 0)
        self.rows.setdefault(activity_id, Row(Activity(activity_id), card, now))

    def write(self, writes: Writes, now: int) -> None:
        """As `Tx.write`, in the SQL engine's order."""
        for outcome in writes.outcomes:
            entry = self.inbox[InboxKey(outcome.source, outcome.id)]
            entry.outcome, entry.reason = outcome.outcome, outcome.reason
        for opened in writes.opened:
            row, opening = self.rows[opened.activity_id], opened.opening
            row.card.appid, row.card.template = opening.appid, opening.template
            row.card.version, row.card.settled = opening.version, 1
            row.details = {**msgspec.structs.asdict(opening), "opened_at": now}
        for activity, due_at in zip(writes.activities, writes.due_at, strict=True):
            row = self.rows[activity.activity_id]
            row.activity, row.due_at = msgspec.structs.replace(activity), due_at
            behind = activity.revision > row.card.settled
            row.card.behind_since = (row.card.behind_since or now) if behind else None
        for progress in writes.progress:
            row = self.rows[progress.activity_id]
            row.activity.done, row.activity.revision = progress.done, progress.revision
            behind = progress.revision > row.card.settled
            row.card.behind_since = (row.card.behind_since or now) if behind else None
        for card in writes.cards:
            row = self.rows[card.activity_id]
            fixed = {name: getattr(row.card, name) for name in ("appid", "template", "version")}
            row.card = msgspec.structs.replace(card, **fixed)
        self._write_members(writes)
        for parked in writes.park:
            self.parked[InboxKey(parked.source, parked.id)] = parked
        for key in writes.unpark:
            self.parked.pop(key, None)
        for out in writes.outbox:
            self._seq += 1
            self.outbox_rows[self._seq] = msgspec.structs.replace(out, seq=self._seq)
        self.log.extend(writes.attempts)
        for appid in writes.apps:
            self.gates.setdefault(appid, Gate(appid))
        for gate in writes.gates:
            self.gates[gate.appid] = msgspec.structs.replace(gate)
        self.ledger.update(writes.counters)

    def _write_members(self, writes: Writes) -> None:
        for member in writes.members:
            members = self.rows[member.activity_id].members
            entry = members.setdefault(
                member.group_openid, MemberEntry(member.state, member.late, member.done_at)
            )
            entry.state, entry.late, entry.done_at = member.state, member.late, member.done_at
        for mark in writes.marks:
            marked = self.rows.get(mark.activity_id)
            if marked is not None and mark.group_openid in marked.members:
                entry = marked.members[mark.group_openid]
                entry.delivered, entry.doubtful = mark.delivered, mark.doubtful

    async def candidates(self, limit: int, per_app: int) -> list[str]:
        now = self.clock()
        turns: Counter[str] = Counter()
        ranked = []
        ready = [(not card.end_due, card.behind_since or 0, card) for card in self._ready(now)]
        for later, _, card in sorted(ready, key=lambda each: (*each[:2], each[2].activity_id)):
            turns[card.appid] += 1
            if turns[card.appid] <= per_app:
                ranked.append((later, turns[card.appid], card.activity_id))
        return [name for *_, name in sorted(ranked)[:limit]]

    def _ready(self, now: int) -> Iterable[Card]:
        for row in self.rows.values():
            card = copy_card(row)
            gate = self.gates.get(card.appid)
            closed = gate is None or gate.closed_until > now
            if not card.state or closed or card.final or card.expires_at <= now:
                continue
            if card.retry_at > now or card.lease_until > now:
                continue
            if card.behind:
                ready = card.look_at <= now or card.end_due
            else:
                doubt = None if card.verdict else card.suspect_at
                ready = doubt is not None and doubt + self._repair_after <= now
            if ready:
                yield card

    async def next_due(self) -> int | None:
        due = [row.due_at for row in self.rows.values() if row.due_at is not None]
        return min(due) - self.clock() if due else None

    async def backlog(self) -> Backlog:
        now = self.clock()
        rows = self.rows.values()
        behind = [row.card.behind_since for row in rows if row.card.behind_since is not None]
        parked = [row.parked_at for row in self.parked.values()]
        outbox = [row.created_at for row in self.outbox_rows.values()]
        due = [row.due_at for row in rows if row.due_at is not None and row.due_at <= now]
        numbers: list[int] = []
        for times in (behind, parked, outbox, due):
            numbers += [min(len(times), 10_001), now - min(times) if times else 0]
        return Backlog(*numbers)

    async def totals(self) -> tuple[dict[str, int], int, int]:
        pending = sum(max(0, row.activity.revision - row.card.settled) for row in self.rows.values())
        return dict(self.ledger), pending, len(self.parked)

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        now = self.clock()
        self.relays[owner] = now + lease
        self.relays = {name: until for name, until in self.relays.items() if until >= now}
        share = -(-SHARDS // len(self.relays))
        owners = {shard: who if until >= now else "" for shard, (who, until) in self.leases.items()}
        mine = [shard for shard, who in owners.items() if who == owner][:share]
        free = [shard for shard, who in owners.items() if not who]
        mine = sorted(mine + free[: share - len(mine)])
        for shard, who in owners.items():
            if shard in mine:
                self.leases[shard] = (owner, now + lease)
            elif who == owner:
                self.leases[shard] = ("", 0)
        return mine

    async def release_shards(self, owner: str) -> None:
        self.relays.pop(owner, None)
        self.leases = {
            shard: ("", 0) if who == owner else (who, at) for shard, (who, at) in self.leases.items()
        }

    async def outbox(self, shards: Sequence[int], limit: int) -> list[OutboxRow]:
        wanted = set(shards)
        page: list[OutboxRow] = []
        size = 0
        for row in self.outbox_rows.values():
            if len(page) == limit or size >= PAGE_SIZE:
                break
            if row.shard in wanted:
                page.append(row)
                size += len(row.body)
        return page

    async def delete_outbox(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            self.outbox_rows.pop(seq, None)

    async def open_gates(self, appids: Sequence[str], reason: str | None) -> list[str]:
        known = (self.gates[appid] for appid in sorted(appids) if appid in self.gates)
        closed = [gate.appid for gate in known if gate.reason and reason in (None, gate.reason)]
        for appid in closed:
            self.gates[appid] = Gate(appid)
        return closed

    async def all_gates(self) -> list[Gate]:
        return [msgspec.structs.replace(self.gates[appid]) for appid in sorted(self.gates)]

    async def outcomes(self, keys: Sequence[InboxKey]) -> dict[InboxKey, str]:
        return {key: self.inbox[key].outcome for key in keys if key in self.inbox}

    async def prune(self, *, inbox: int, attempts: int, activities: int, limit: int) -> dict[str, int]:
        now = self.clock()
        old_keys = [
            key
            for key, entry in sorted(self.inbox.items(), key=lambda each: each[1].received_at)
            if entry.received_at < now - inbox
            and entry.outcome != "parked"
            and ("inbox", key) not in self.locks.holder
        ][:limit]
        for key in old_keys:
            del self.inbox[key]
        aged = sorted((each.at, n) for n, each in enumerate(self.log) if each.at < now - attempts)
        gone = {n for _, n in aged[:limit]}
        self.log = [each for n, each in enumerate(self.log) if n not in gone]
        unlocked = [row for name, row in self.rows.items() if ("activity", name) not in self.locks.holder]
        unlocked.sort(key=lambda row: (row.activity.expires_at, row.seen_at))
        old = [
            row
            for row in unlocked
            if row.activity.state == ENDED and row.activity.expires_at < now - activities
        ]
        for row in old[:limit]:
            self.ledger["revisions.expired"] += max(0, row.activity.revision - row.card.settled)
            del self.rows[row.activity.activity_id]
        deleted = {row.activity.activity_id for row in old[:limit]}
        self.log = [each for each in self.log if each.activity_id not in deleted]
        waiting = {row.activity_id for row in self.parked.values()}
        unopened = [
            row
            for row in unlocked
            if not row.activity.state
            and row.seen_at < now - UNOPENED_AGE
            and row.activity.activity_id not in waiting
        ][:limit]
        for row in unopened:
            del self.rows[row.activity.activity_id]
        return {
            "inbox": len(old_keys),
            "attempts": len(gone),
            "activities": len(deleted),
            "unopened": len(unopened),
        }

    async def show(self, activity_id: str) -> dict[str, Any] | None:
        row = self.rows.get(activity_id)
        if row is None:
            return None
        members = row.members.values()
        owed = len(row.owed())
        parked = [each.parked_at for each in self.parked.values() if each.activity_id == activity_id]
        card, gate = copy_card(row), self.gates.get(row.card.appid)
        details = {
            name: row.details.get(name)
            for name in ("publisher", "opengid", "open_single_roomid", "opened_at")
        }
        return {
            "activity": {
                **msgspec.to_builtins(row.activity),
                **details,
                "due_at": row.due_at,
                "title": row.details.get("title", ""),
                "seen_at": row.seen_at,
            },
            "card": msgspec.to_builtins(card),
            "members": {
                "pending": sum(each.state != DONE for each in members),
                "done": sum(each.state == DONE for each in members),
                "late": sum(each.late for each in members),
                "owed": owed,
                "confirmed": sum(each.delivered == CONFIRMED for each in members),
                "set_aside": sorted(who for who, each in row.members.items() if each.delivered == SET_ASIDE)[
                    :20
                ],
            },
            "gate": msgspec.to_builtins(gate) if gate else None,
            "parked": {"events": len(parked), "since": min(parked, default=None)},
            "attempts": msgspec.to_builtins(await self.attempts(activity_id, 10)),
            "now": self.clock(),
        }

    async def attempts(self, activity_id: str, limit: int) -> list[Attempt]:
        return [each for each in reversed(self.log) if each.activity_id == activity_id][:limit]
