"""The dict store's tables, their locks, and what a commit does to them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import msgspec

from services.store.operators import Action, Job
from services.store.persons import Tally
from services.store.requests import KEPT
from services.store.rooms import Binding, BindingKey
from services.store.rows import (
    OWED,
    SHARDS,
    Attempt,
    InboxKey,
    Locked,
    OutboxRow,
    ParkedRow,
    Writes,
)
from services.store.sessions import SessionRow
from statemachine.card import Card, DeliveryRules, attempt_at
from statemachine.gate import Gate, as_believed
from statemachine.model import Activity, Room, Unbound
from statemachine.states import DONE, ENDED
from statemachine.step import Owed
from tests.verification.dict_store.requests import RequestEntry


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
    attempt_at: int | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    members: dict[str, MemberEntry] = msgspec.field(default_factory=dict)

    @property
    def ending(self) -> bool:
        """The column."""
        return self.card.ending

    @property
    def room(self) -> Room | None:
        """As the opening said."""
        room_id = self.details.get("opengid") or self.details.get("open_single_roomid")
        return Room(self.card.appid, room_id) if room_id else None

    @property
    def unscheduled(self) -> bool:
        """The partial index's predicate."""
        silent = self.attempt_at is None or (self.activity.state == ENDED and self.due_at is None)
        doubted = self.card.doubt_at is not None and not self.card.verdict
        return silent and (self.card.behind_since is not None or doubted)

    def owed(self) -> list[Owed]:
        """Members to tell WeChat about, oldest first."""
        found = [
            (member.done_at or 0, who, member.doubtful)
            for who, member in self.members.items()
            if member.state == DONE and not member.late and member.delivered == OWED
        ]
        return [Owed(who, doubtful) for _, who, doubtful in sorted(found)]


def copied(row: Row) -> Locked:
    """The row as a transaction gets it, its card with the activity's columns as they are now."""
    activity = msgspec.structs.replace(row.activity)
    card = msgspec.structs.replace(
        row.card, state=activity.state, revision=activity.revision, expires_at=activity.expires_at
    )
    return Locked(activity, card)


class Tables:
    """Everything there is."""

    def __init__(self, now: Callable[[], int], rules: DeliveryRules) -> None:
        self.clock, self.rules = now, rules
        self.locks = Locks()
        self.inbox: dict[InboxKey, InboxEntry] = {}
        self.rows: dict[str, Row] = {}
        self.parked: dict[InboxKey, ParkedRow] = {}
        self.places: dict[InboxKey, int] = {}
        self.outbox_rows: dict[int, OutboxRow] = {}
        self.log: list[Attempt] = []
        self.gates: dict[str, Gate] = {}
        self.bindings: dict[BindingKey, Binding] = {}
        self.requests: dict[str, RequestEntry] = {}
        self.sessions: dict[str, tuple[SessionRow, int]] = {}
        self.unbound_rows: dict[tuple[str, ...], tuple[int, Unbound]] = {}
        self.noted: list[Action] = []
        self.jobs_kept: dict[str, Job] = {}
        self.ledger: Counter[str] = Counter()
        self.relays: dict[str, int] = {}
        self.leases: dict[int, tuple[str, int]] = dict.fromkeys(range(SHARDS), ("", 0))
        self._seq = 0

    def admit(self, keys: Mapping[InboxKey, str], now: int) -> None:
        """Insert inbox rows."""
        for key, activity_id in keys.items():
            self.inbox[key] = InboxEntry(activity_id, "applied", "", now)

    def change_requests(self, changed: Mapping[str, RequestEntry | None]) -> None:
        """Write and delete rows of `requests`."""
        for name, entry in changed.items():
            if entry is None:
                self.requests.pop(name, None)
            else:
                self.requests[name] = entry

    def prune_requests(self, limit: int) -> int:
        """Forget the oldest answers."""
        old = sorted(
            (entry.started_at, name)
            for name, entry in self.requests.items()
            if entry.started_at < self.clock() - KEPT and ("request", name) not in self.locks.holder
        )[:limit]
        for _, name in old:
            del self.requests[name]
        return len(old)

    def tally(self, tally: Tally) -> None:
        """Write the counts of an activity."""
        row = self.rows[tally.activity_id]
        row.activity.participants, row.activity.done = tally.participants, tally.done
        row.card.progress_members = tally.progress_members

    def see(self, activity_id: str, now: int) -> None:
        """Insert an unopened row."""
        self.rows.setdefault(activity_id, Row(Activity(activity_id), Card(activity_id), now))

    def write(self, writes: Writes, now: int) -> None:
        """As `Tx.write`, in the SQL engine's order."""
        self._write_unbound(writes, now)
        for outcome in writes.outcomes:
            entry = self.inbox[InboxKey(outcome.source, outcome.id)]
            entry.outcome, entry.reason = outcome.outcome, outcome.reason
        self._write_announced(writes)
        for opened in writes.opened:
            row, opening = self.rows[opened.activity_id], opened.opening
            row.card.appid, row.card.template = opening.appid, opening.template
            row.card.version = opening.version
            row.details = {**msgspec.structs.asdict(opening), "opened_at": now}
        for activity, card, due_at in writes.activities:
            row = self.rows[activity.activity_id]
            row.activity, row.due_at = msgspec.structs.replace(activity), due_at
            self._write_card(row, card)
        for activity, card in writes.progress:
            row = self.rows[activity.activity_id]
            row.activity.done, row.activity.revision = activity.done, activity.revision
            row.card.revision, row.card.retry_at = card.revision, card.retry_at
            row.card.behind_since = card.behind_since
            row.attempt_at = attempt_at(card, self.rules)
        for card in writes.cards:
            row = self.rows[card.activity_id]
            row.activity.revision = card.revision
            self._write_card(row, card)
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
            self.put_gate(gate)
        self.ledger.update(writes.counters)

    def is_closed(self, gate: Gate, now: int) -> bool:
        """Whether a claim leaves the app alone."""
        return as_believed(gate, now, self.rules.longest_closing).closed_until > now

    def put_gate(self, gate: Gate) -> None:
        """The gate's columns but one, which is `save_quota`'s."""
        before = self.gates.get(gate.appid) or Gate(gate.appid)
        self.gates[gate.appid] = msgspec.structs.replace(gate, saving_until=before.saving_until)

    def _write_unbound(self, writes: Writes, now: int) -> None:
        for waits in writes.wait:
            key = (*waits[:4], waits.type)
            since, known = self.unbound_rows.get(key, (now, waits))
            self.ledger["openids.waited"] += key not in self.unbound_rows
            self.unbound_rows[key] = since, known._replace(time=min(known.time, waits.time))

    def _write_announced(self, writes: Writes) -> None:
        for each in writes.announced:
            row = self.rows[each.activity_id]
            if not row.activity.state:
                row.card.appid, row.activity.expires_at = each.appid, each.expires_at
                room = {"opengid": each.opengid, "open_single_roomid": each.open_single_roomid}
                row.details = {"title": each.title, **room}

    def _write_card(self, row: Row, card: Card) -> None:
        fixed = {name: getattr(row.card, name) for name in ("appid", "template", "version")}
        row.card = msgspec.structs.replace(card, **fixed)
        row.attempt_at = attempt_at(card, self.rules)

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
