"""The verb of the lifecycle: one batch of records, one transaction (design.md §1, §3, §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.events import Added, Completed, Event, Opened
from contracts.records import DeadReason, Record, encode_record
from services.store.ports import Store, Tx
from services.store.rooms import BindingKey
from services.store.rows import (
    Admission,
    InboxKey,
    InboxOutcome,
    MemberRow,
    Moved,
    ParkedCount,
    ParkedRow,
    Progress,
    Writes,
    pages,
)
from services.store.rows import Opened as OpenedRow
from services.transactions.arrivals import Arrival, Failed, read_arrival
from services.transactions.outgoing import change_rows, dead_row
from services.transactions.steps import follow
from statemachine import activity as machine
from statemachine.card import CLOSED, GIVEN_UP, Card, phase
from statemachine.delivery import raise_revision
from statemachine.model import Activity, Aggregate, Member, Opening, Outcome, Room, Rules
from statemachine.states import OPEN, UNOPENED
from statemachine.timers import due_at

NAMING: Final = (Completed, Added)
"""Events that name members of an activity that is open already."""
MOST_PARKED: Final = ParkedCount(5_000, 2 << 20)
"""What may wait for one opening, which applies it in one transaction. PostgreSQL ends one that lets it wait
for 5 s, which some 500,000 members take: it would be tried again and again, and its partition stand still."""
TOO_MANY_PARKED: Final = (
    f"{MOST_PARKED.events} events or {MOST_PARKED.size >> 20} MiB wait for this activity's `opened` already: "
    "once that is published, `livecard replay --reason unprocessable` takes this one back"
)


class TooMuch(Exception):
    """What these arrivals bring with them is too much for one transaction; half of them may not be."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that must reach the dead letters' topic before its offset is committed. `at`: µs."""

    record: Record
    reason: DeadReason
    error: str
    at: int


class Applied(msgspec.Struct):
    """What one batch came to, once its transaction has committed.

    `nudges`: activity_id → revision to look at. `outcomes`: (type, outcome) → how many events; a dead
    letter's type is "".
    """

    nudges: dict[str, int] = msgspec.field(default_factory=dict)
    dead: list[DeadLetter] = msgspec.field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    repeats: int = 0


async def apply(store: Store, arrivals: Sequence[Arrival], rules: Rules) -> Applied:
    """Bring a batch, in order of arrival, into the store in one transaction.

    Raises `StoreUnavailable` (nothing happened, or it did and a repeat will show it: wait and
    repeat), `StoreRejected` (nothing happened: some event of the batch is to blame) or `TooMuch`
    (nothing happened: several openings for which more waits than may wait for one).
    """
    async with store.transaction() as tx:
        batch = _Batch(tx, arrivals, rules)
        await batch.read()
        batch.fold()
        await tx.write(batch.writes())
    return batch.applied


class _Batch:
    """One transaction's worth of arrivals: read everything under the locks, fold, write."""

    def __init__(self, tx: Tx, arrivals: Sequence[Arrival], rules: Rules) -> None:
        self.tx = tx
        self.arrivals = [(each.key, each) for each in arrivals]
        self.rules = rules
        self.applied = Applied()
        self.now = 0
        self.status: dict[InboxKey, Admission] = {}
        self.aggregates: dict[str, Aggregate] = {}
        self.bound: dict[tuple[str, str, str], str] = {}
        self.before: dict[str, Card] = {}
        self.parked: set[InboxKey] = set()
        self.parked_counts: dict[str, ParkedCount] = {}
        self.records: dict[InboxKey, Record] = {}
        self.outcomes: dict[InboxKey, tuple[Event, Outcome]] = {}
        self.retried: set[InboxKey] = set()
        self.rows: dict[InboxKey, InboxOutcome] = {}
        self.changed: set[str] = set()
        self.wide: set[str] = set()
        self.out = Writes()

    async def read(self) -> None:
        """Admit, lock, read the clock, then what the events name: in that order, each once."""
        where: dict[InboxKey, str | None] = {}
        for key, each in self.arrivals:
            content = each.content
            where.setdefault(key, content.activity_id if isinstance(content, Event) else None)
        keys = sorted(where)
        admissions = await self.tx.admit(keys, [where[key] for key in keys])
        self.status = dict(zip(keys, admissions, strict=True))
        self.out.count("events.taken", admissions.count("new"))
        events = [
            each.content
            for key, each in self.arrivals
            if isinstance(each.content, Event) and self.status[key] != "repeat"
        ]
        rows = await self.tx.lock(sorted({event.activity_id for event in events})) if events else {}
        self.now = await self.tx.now()
        self.aggregates = {name: Aggregate(row.activity, bound=self.bound) for name, row in rows.items()}
        self.before = {name: row.card for name, row in rows.items()}
        early, opening = set[str](), set[str]()
        for event in events:
            if rows[event.activity_id].activity.state == UNOPENED:
                (opening if isinstance(event.data, Opened) else early).add(event.activity_id)
        await self._read_parked(early, opening)
        await self._read_bindings(events)
        await self._read_members(events)

    async def _read_bindings(self, events: Sequence[Event]) -> None:
        """Who is who, of those named by openid, in every room that their activities have or may come to have
        by this batch. Until it is over nobody of them becomes known: whoever is not waits."""
        parked = [each for aggregate in self.aggregates.values() for each in aggregate.early]
        named: dict[str, set[str]] = {}
        for event in (*events, *parked):
            if isinstance(event.data, NAMING) and event.data.openids:
                named.setdefault(event.activity_id, set()).update(event.data.openids)
        if not named:
            return
        rooms: dict[str, set[Room]] = {}
        for name, room in (await self.tx.rooms(sorted(named))).items():
            self.aggregates[name].room, rooms[name] = room, {room}
        for event in events:
            if isinstance(event.data, Opened) and self.before[event.activity_id].state == UNOPENED:
                found = machine.opening_of(event.data).room
                rooms.setdefault(event.activity_id, set()).update([found] if found else [])
        people = {
            BindingKey(*room, openid)
            for name, openids in named.items()
            for room in rooms.get(name, ())
            for openid in openids
        }
        self.bound.update((await self.tx.lock_bindings(sorted(people))).items())
        self.now = await self.tx.now()

    async def _read_members(self, events: Sequence[Event]) -> None:
        pairs = set[tuple[str, str]]()
        for event in events:
            if isinstance(event.data, NAMING):
                aggregate = self.aggregates[event.activity_id]
                if aggregate.activity.state != UNOPENED:
                    members, _ = machine.named(aggregate, event.data)
                    pairs.update([(event.activity_id, group_openid) for group_openid in members])
        for row in await self.tx.members(sorted(pairs)):
            member = Member(row.group_openid, row.state, row.late, row.done_at)
            self.aggregates[row.activity_id].members[row.group_openid] = member

    async def _read_parked(self, early: set[str], opening: set[str]) -> None:
        counted = early | opening if len(opening) > 1 else early
        self.parked_counts = await self.tx.count_parked(sorted(counted))
        if not opening:
            return
        if len(opening) > 1:
            counts = [self.parked_counts[name] for name in opening & self.parked_counts.keys()]
            count = ParkedCount(sum(each.events for each in counts), sum(each.size for each in counts))
            if count.exceeds(MOST_PARKED):
                raise TooMuch(f"{count.events} events of {count.size} bytes wait for {len(opening)} openings")
        for page in pages(await self.tx.waiting(sorted(opening))):
            for row in await self.tx.parked(page):
                self._read_early(row)

    def _read_early(self, row: ParkedRow) -> None:
        """Keep what a parked record says, not the record."""
        key = InboxKey(row.source, row.id)
        self.parked.add(key)
        content = read_arrival(row.record).content
        if isinstance(content, Event):
            self.aggregates[row.activity_id].early.append(content)
        else:  # it could be read when it was parked: the schema has become stricter since
            letter = dead_row(row.activity_id, row.record, content.reason, content.error, self.now)
            self.out.outbox.append(letter)  # its record's offset is long committed
            self._die(key, row.record, content)

    def fold(self) -> None:
        """Each record in order; a key seen before in this batch or another is a repeat."""
        for key, each in self.arrivals:
            content = each.content
            if self.status[key] == "repeat":
                self.applied.repeats += 1
                if isinstance(content, Failed):
                    self._bury(each.record, content)
            elif isinstance(content, Event):
                self._handle(key, content, each.record)
            else:
                self._die(key, each.record, content)

    def _handle(self, key: InboxKey, event: Event, record: Record) -> None:
        name = event.activity_id
        aggregate = self.aggregates[name]
        if aggregate.activity.state == UNOPENED and self._too_many_parked(event, record):
            self._die(key, record, Failed("unprocessable", TOO_MANY_PARKED, key))
            return
        if self.status[key] == "dead":  # it came to nothing before and gets its chance
            self.retried.add(key)
        self.status[key] = "repeat"
        for each, outcome in machine.handle(aggregate, event, self.now, self.rules):
            self.outcomes[key if each is event else InboxKey(each.source, each.id)] = each, outcome
            if outcome.kind in ("applied", "late"):
                self.changed.add(name)
            elif outcome.kind == "parked":
                self.records[key] = record
        if aggregate.published:
            self.changed.add(name)
        if not isinstance(event.data, Completed):
            self.wide.add(name)

    def _too_many_parked(self, event: Event, record: Record) -> bool:
        """Whether as many as may be wait already for the `opened` that this is ahead of; else it counts."""
        name = event.activity_id
        if isinstance(event.data, Opened):  # nothing waits any longer, even if it is refused as expired
            self.parked_counts.pop(name, None)
            return False
        count = self.parked_counts.get(name, ParkedCount()).joined(len(encode_record(record)))
        if count.exceeds(MOST_PARKED):
            return True
        self.parked_counts[name] = count
        return False

    def _bury(self, record: Record, why: Failed) -> None:
        self.applied.dead.append(DeadLetter(record, why.reason, why.error, self.now))

    def _die(self, key: InboxKey, record: Record, why: Failed) -> None:
        if key in self.parked:
            self.out.unpark.append(key)
        else:
            self._bury(record, why)
        if self.status.get(key) == "dead":  # its letter may not have been written the last time
            self.applied.repeats += 1
            return
        self.status[key] = "dead"
        self.rows[key] = InboxOutcome(key.source, key.id, "dead", why.reason)
        self.applied.outcomes["", "dead"] += 1

    def writes(self) -> Writes:
        """Everything that the batch changes."""
        self._write_outcomes()
        for name in sorted(self.changed):
            self._write_activity(name, self.aggregates[name])
        return self.out

    def _write_outcomes(self) -> None:
        out, outcomes, now = self.out, self.applied.outcomes, self.now
        for key, (event, outcome) in self.outcomes.items():
            kind = outcome.kind
            outcomes[event.type, kind] += 1
            was_parked = key in self.parked
            if was_parked:
                out.unpark.append(key)
            elif kind == "parked":
                out.park.append(ParkedRow(event.activity_id, *key, now, self.records[key]))
            # Admission wrote `applied` already, but only for keys that were new to it.
            if kind != "applied" or was_parked or key in self.retried:
                self.rows[key] = InboxOutcome(*key, kind, outcome.reason)
        out.outcomes = list(self.rows.values())
        for (_, outcome_kind), count in outcomes.items():
            out.count(f"events.{outcome_kind}", count)
        out.count("events.dead", -len(self.retried))
        out.count("events.parked", -len(out.unpark))
        out.count("events.repeats", self.applied.repeats)

    def _write_activity(self, name: str, aggregate: Aggregate) -> None:
        out, activity = self.out, aggregate.activity
        out.outbox.extend(change_rows(name, aggregate.published, self.now))
        out.wait.extend(aggregate.waits)
        if activity.state == UNOPENED:  # an `opened` refused as expired leaves the row as it was
            return
        card = self.before[name]
        raised = activity.revision - card.revision
        out.count("revisions.raised", raised)
        if aggregate.opening is not None:
            card = _opened_card(activity, aggregate.opening)
            out.opened.append(OpenedRow(name, aggregate.opening))
            out.apps.append(aggregate.opening.appid)
            out.count("revisions.delivered")
            raised -= 1
        wide = name in self.wide or activity.state != card.state or phase(card) in (GIVEN_UP, CLOSED)
        if raised:
            step = raise_revision(card, activity.state, activity.revision, self.now)
            card = step.card
            follow(out, step, self.now)
            self.applied.nudges[name] = activity.revision
        if wide:
            out.activities.append(Moved(activity, card, due_at(activity, card, self.rules)))
        else:  # completions count members and raise a revision; everything else stays as it was read
            out.progress.append(Progress(activity, card))
        for group_openid, member in aggregate.touched.items():
            out.members.append(MemberRow(name, group_openid, member.state, member.late, member.done_at))


def _opened_card(activity: Activity, opening: Opening) -> Card:
    """The card as its `opened` made it: WeChat shows revision 1 from the start, so that needs no call."""
    return Card(
        activity.activity_id,
        opening.appid,
        opening.template,
        opening.version,
        OPEN,
        revision=1,
        expires_at=activity.expires_at,
        settled=1,
    )
