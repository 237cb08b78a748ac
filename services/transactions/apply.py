"""The verb of the lifecycle: one batch of records, one transaction (design.md §1, §3, §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.decode import Dead, decode
from contracts.events import Added, Completed, Event, Opened
from contracts.records import DeadReason, Record, encode_record
from services.store.ports import Store, Tx
from services.store.rows import (
    Admission,
    Crowd,
    InboxKey,
    InboxOutcome,
    MemberRow,
    ParkedRow,
    Progress,
    Writes,
    pages,
)
from services.store.rows import Opened as OpenedRow
from services.transactions.outgoing import change_rows, coordinates, dead_row
from statemachine import activity as machine
from statemachine.model import Aggregate, Member, Outcome, Rules
from statemachine.states import UNOPENED
from statemachine.timers import due_at

MOST_PARKED: Final = Crowd(5_000, 2 << 20)
"""What may wait for one opening, which applies it in one transaction. PostgreSQL ends one that lets it wait
for 5 s, which some 500,000 members take: it would be tried again and again, and its partition stand still."""
CROWDED: Final = (
    f"{MOST_PARKED.events} events or {MOST_PARKED.size >> 20} MiB wait for this activity's `opened` already: "
    "once that is published, `livecard replay --reason unprocessable` takes this one back"
)


class TooMuch(Exception):
    """What these arrivals bring with them is too much for one transaction; half of them may not be."""


class Failed(msgspec.Struct, frozen=True):
    """Why a record is a dead letter. `key` is its `(source, id)` where those could be read."""

    reason: DeadReason
    error: str
    key: InboxKey | None = None


class Arrival(msgspec.Struct, frozen=True):
    """One record as consumed: what it says, or why it says nothing."""

    record: Record
    content: Event | Failed

    @property
    def key(self) -> InboxKey:
        """What makes it count once: `(source, id)`, or its coordinates when it has none."""
        content = self.content
        if isinstance(content, Event):
            return InboxKey(content.source, content.id)
        return content.key or InboxKey("", coordinates(self.record))


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that must reach the dead letters' topic before its offset is committed."""

    record: Record
    reason: DeadReason
    error: str


class Applied(msgspec.Struct):
    """What one batch came to, once its transaction has committed.

    `nudges`: activity_id → revision to look at. `outcomes`: (type, outcome) → how many events.
    """

    nudges: dict[str, int] = msgspec.field(default_factory=dict)
    dead: list[DeadLetter] = msgspec.field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    repeats: int = 0
    now: int = 0


def read_arrival(record: Record) -> Arrival:
    """Decode one record; never raises."""
    read = decode(record.value, record.headers)
    return Arrival(record, failed(read) if isinstance(read, Dead) else read)


def failed(dead: Dead) -> Failed:
    """The decoder's verdict, with the inbox key where the envelope could be read."""
    key = InboxKey(dead.source, dead.id) if dead.source and dead.id else None
    return Failed(dead.reason, dead.error, key)


async def apply(store: Store, arrivals: Sequence[Arrival], rules: Rules) -> Applied:
    """Bring a batch, in order of arrival, into the store in one transaction.

    Raises `StoreUnavailable` (nothing happened, or it did and a repeat will show it: wait and
    repeat), `StoreRejected` (nothing happened: some event of the batch is to blame) or `TooMuch`
    (nothing happened: several openings for which more waits than may wait for one).
    """
    async with store.transaction() as tx:
        batch = _Batch(tx, rules)
        await batch.read(arrivals)
        batch.fold(arrivals)
        await tx.write(batch.writes())
    return batch.applied


class _Batch:
    """One transaction's worth of arrivals: read everything under the locks, fold, write."""

    def __init__(self, tx: Tx, rules: Rules) -> None:
        self.tx = tx
        self.rules = rules
        self.applied = Applied()
        self.status: dict[InboxKey, Admission] = {}
        self.aggregates: dict[str, Aggregate] = {}
        self.before: dict[str, tuple[int, str]] = {}
        self.parked: set[InboxKey] = set()
        self.crowds: dict[str, Crowd] = {}
        self.records: dict[InboxKey, Record] = {}
        self.outcomes: dict[InboxKey, Outcome] = {}
        self.events: dict[InboxKey, Event] = {}
        self.retried: set[InboxKey] = set()
        self.rows: dict[InboxKey, InboxOutcome] = {}
        self.changed: set[str] = set()
        self.wide: set[str] = set()
        self.out = Writes()

    async def read(self, arrivals: Sequence[Arrival]) -> None:
        """Admit, lock, read the clock, then what the events name: in that order, each once."""
        where: dict[InboxKey, str | None] = {}
        for each in arrivals:
            content = each.content
            where.setdefault(each.key, content.activity_id if isinstance(content, Event) else None)
        keys = sorted(where)
        admissions = await self.tx.admit(keys, [where[key] for key in keys])
        self.status = dict(zip(keys, admissions, strict=True))
        events = [
            each.content
            for each in arrivals
            if isinstance(each.content, Event) and self.status[each.key] != "repeat"
        ]
        activities = await self.tx.lock(sorted({event.activity_id for event in events})) if events else {}
        self.applied.now = await self.tx.now()
        self.aggregates = {name: Aggregate(activity) for name, activity in activities.items()}
        self.before = {name: (each.revision, each.state) for name, each in activities.items()}
        await self._read_members(events)
        await self._read_parked(events)

    async def _read_members(self, events: Sequence[Event]) -> None:
        pairs = {
            (event.activity_id, group_openid)
            for event in events
            if isinstance(event.data, Completed | Added)
            and self.aggregates[event.activity_id].activity.state != UNOPENED
            for group_openid in event.data.members
        }
        if pairs:
            for row in await self.tx.members(sorted(pairs)):
                member = Member(row.group_openid, row.state, row.late, row.done_at)
                self.aggregates[row.activity_id].members[row.group_openid] = member

    async def _read_parked(self, events: Sequence[Event]) -> None:
        unopened = [
            event for event in events if self.aggregates[event.activity_id].activity.state == UNOPENED
        ]
        opening = {event.activity_id for event in unopened if isinstance(event.data, Opened)}
        early = {event.activity_id for event in unopened if not isinstance(event.data, Opened)}
        counted = early | opening if len(opening) > 1 else early
        self.crowds = await self.tx.crowds(sorted(counted)) if counted else {}
        if not opening:
            return
        if len(opening) > 1:
            crowds = [self.crowds[name] for name in opening & self.crowds.keys()]
            crowd = Crowd(sum(each.events for each in crowds), sum(each.size for each in crowds))
            if crowd.exceeds(MOST_PARKED):
                raise TooMuch(f"{crowd.events} events of {crowd.size} bytes wait for {len(opening)} openings")
        for page in pages(await self.tx.waiting(sorted(opening))):
            for row in await self.tx.parked(page):
                self._read_early(row)

    def _read_early(self, row: ParkedRow) -> None:
        """Keep what a parked record says, not the record."""
        key = InboxKey(row.source, row.id)
        self.parked.add(key)
        content = read_arrival(row.record).content
        if isinstance(content, Event):
            self.events[key] = content
            self.aggregates[row.activity_id].early.append(content)
        else:  # it could be read when it was parked: the schema has become stricter since
            letter = dead_row(row.activity_id, row.record, content.reason, content.error, self.applied.now)
            self.out.outbox.append(letter)  # its record's offset is long committed
            self._die(key, row.record, content)

    def fold(self, arrivals: Sequence[Arrival]) -> None:
        """Each record in order; a key seen before in this batch or another is a repeat."""
        for each in arrivals:
            key, content = each.key, each.content
            if self.status[key] == "repeat":
                self.applied.repeats += 1
                if isinstance(content, Failed):
                    self.applied.dead.append(DeadLetter(each.record, content.reason, content.error))
                continue
            if isinstance(content, Event) and self._crowded(content, each.record):
                content = Failed("unprocessable", CROWDED, key)
            if isinstance(content, Failed):
                self._die(key, each.record, content)
                continue
            self._settle_dead(key)
            self.status[key] = "repeat"
            self.records[key] = each.record
            self.events[key] = content
            aggregate = self.aggregates[content.activity_id]
            for event, outcome in machine.handle(aggregate, content, self.applied.now, self.rules):
                self.outcomes[InboxKey(event.source, event.id)] = outcome
                if outcome.kind in ("applied", "late"):
                    self.changed.add(event.activity_id)
            if aggregate.published:
                self.changed.add(content.activity_id)
            if not isinstance(content.data, Completed):
                self.wide.add(content.activity_id)

    def _crowded(self, event: Event, record: Record) -> bool:
        """Whether the event is ahead of its `opened` and as many as may be wait there; else it counts."""
        name = event.activity_id
        if self.aggregates[name].activity.state != UNOPENED:
            return False
        if isinstance(event.data, Opened):  # nothing waits any longer, even if it is refused as expired
            self.crowds.pop(name, None)
            return False
        crowd = self.crowds.get(name, Crowd()).joined(len(encode_record(record)))
        if crowd.exceeds(MOST_PARKED):
            return True
        self.crowds[name] = crowd
        return False

    def _settle_dead(self, key: InboxKey) -> None:
        """A key that came to nothing before gets its chance: it no longer counts as dead."""
        if self.status[key] == "dead":
            self.retried.add(key)
            self.out.count("events.dead", -1)
        else:
            self.out.count("events.taken")

    def _die(self, key: InboxKey, record: Record, why: Failed) -> None:
        if key not in self.parked:
            self.applied.dead.append(DeadLetter(record, why.reason, why.error))
        if self.status.get(key) == "dead":  # its letter may not have been written the last time
            self.applied.repeats += 1
            return
        if key in self.parked:
            self.out.unpark.append(key)
            self.out.count("events.parked", -1)
        else:
            self.out.count("events.taken")
        self.status[key] = "dead"
        self.out.count("events.dead")
        self.rows[key] = InboxOutcome(key.source, key.id, "dead", why.reason)
        self.applied.outcomes["", "dead"] += 1

    def writes(self) -> Writes:
        """Everything that the batch changes."""
        out = self.out
        out.count("events.repeats", self.applied.repeats)
        for key, outcome in self.outcomes.items():
            self._write_outcome(key, outcome)
        for name in sorted(self.changed):
            self._write_activity(name, self.aggregates[name])
        out.outcomes = list(self.rows.values())
        return out

    def _write_outcome(self, key: InboxKey, outcome: Outcome) -> None:
        out, kind = self.out, outcome.kind
        was_parked = key in self.parked
        if was_parked:
            out.unpark.append(key)
            out.count("events.parked", -1)
        elif kind == "parked":
            out.park.append(self._parked_row(key))
        out.count(f"events.{kind}")
        self.applied.outcomes[self.events[key].type, kind] += 1
        # Admission wrote `applied` already, but only for keys that were new to it.
        if kind != "applied" or was_parked or key in self.retried:
            self.rows[key] = InboxOutcome(key.source, key.id, kind, outcome.reason)

    def _parked_row(self, key: InboxKey) -> ParkedRow:
        activity_id = self.events[key].activity_id
        return ParkedRow(activity_id, key.source, key.id, self.applied.now, self.records[key])

    def _write_activity(self, name: str, aggregate: Aggregate) -> None:
        out, activity, now = self.out, aggregate.activity, self.applied.now
        out.outbox.extend(change_rows(name, aggregate.published, now))
        if activity.state == UNOPENED:  # an `opened` refused as expired leaves the row as it was
            return
        revision, state = self.before[name]
        if name in self.wide or activity.state != state:
            out.activities.append(activity)
            out.due_at.append(due_at(activity, self.rules))
        else:  # completions count members and revisions; everything else stays as it was read
            out.progress.append(Progress(name, activity.done, activity.revision))
        raised = activity.revision - revision
        out.count("revisions.raised", raised)
        if aggregate.opening is not None:
            out.opened.append(OpenedRow(name, aggregate.opening))
            out.apps.append(aggregate.opening.appid)
            out.count("revisions.delivered")
            raised -= 1
        if raised:
            self.applied.nudges[name] = activity.revision
        for group_openid, member in aggregate.touched.items():
            out.members.append(MemberRow(name, group_openid, member.state, member.late, member.done_at))
