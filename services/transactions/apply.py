"""The verb of the lifecycle: one batch of records, one transaction (design.md §1, §3, §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from contracts.changes import CardExpiring
from contracts.events import Completed, Event, Opened
from contracts.records import DeadReason, Record, encode_record
from services.store.ports import Store, Tx
from services.store.rows import (
    Admission,
    Announced,
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
from services.transactions.ledger import DEAD_LETTERS
from services.transactions.outgoing import change_rows, dead_row, passed_rows
from services.transactions.people import TOO_LARGE, People
from services.transactions.steps import follow
from statemachine import activity as machine
from statemachine.card import CLOSED, CONTINUED, GIVEN_UP, Card, phase
from statemachine.delivery import close, raise_revision
from statemachine.model import Activity, Aggregate, Opening, Outcome, Rules
from statemachine.states import OPEN, UNOPENED
from statemachine.timers import due_at

MOST_PARKED: Final = ParkedCount(5_000, 2 << 20)
"""What may wait for one opening, which applies it in one transaction. PostgreSQL ends one that lets it wait
for 5 s, which some 500,000 members take: it would be tried again and again, and its partition stand still."""
TOO_MANY_PARKED: Final = (
    f"{MOST_PARKED.events} events or {MOST_PARKED.size >> 20} MiB wait for this activity's `opened` already: "
    "once that is published, `livecard replay --reason unprocessable` takes this one back"
)


class TooMuch(Exception):
    """What these arrivals bring with them is too much for one transaction; half of them may not be."""


class _Unlocked(Exception):
    """What waits for an opening concerns these activities, too, and they are not locked: in order, from the
    beginning."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.names = frozenset(names)


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
    also = frozenset[str]()
    while True:
        try:
            return await _apply(store, arrivals, rules, also)
        except _Unlocked as unlocked:
            also |= unlocked.names


async def _apply(store: Store, arrivals: Sequence[Arrival], rules: Rules, also: frozenset[str]) -> Applied:
    async with store.transaction() as tx:
        batch = _Batch(tx, arrivals, rules, also)
        await batch.read()
        batch.fold()
        await tx.write(batch.writes())
    return batch.applied


class _Batch(People):
    """One transaction's worth of arrivals: read everything under the locks, fold, write."""

    def __init__(
        self, tx: Tx, arrivals: Sequence[Arrival], rules: Rules, also: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(tx)
        self.also = also
        self.arrivals = [(each.key, each) for each in arrivals]
        self.rules = rules
        self.applied = Applied()
        self.status: dict[InboxKey, Admission] = {}
        self.parked: set[InboxKey] = set()
        self.parked_counts: dict[str, ParkedCount] = {}
        self.records: dict[InboxKey, tuple[str, Record]] = {}
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
        named = {event.activity_id for event in events}
        named |= {name for event in events if (name := _continued(event)) is not None}
        rows = await self.tx.lock(sorted(named | self.also)) if events else {}
        self.now = await self.tx.now()
        self.aggregates = {
            name: Aggregate(row.activity, appid=row.card.appid, bound=self.bound)
            for name, row in rows.items()
        }
        self.before = {name: row.card for name, row in rows.items()}
        early, opening, continued = set[str](), set[str](), set[str]()
        for event in events:
            if not self.is_open(event.activity_id):
                (opening if isinstance(event.data, Opened) else early).add(event.activity_id)
                if (earlier := _continued(event)) is not None:
                    (continued if self.is_open(earlier) else early).add(earlier)
        await self._read_parked(early, opening)
        await self.read_continued(sorted(continued))
        await self._read_bindings(events)
        await self._read_members(events)

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
        seen, more = set[str](), opening
        while more:  # what waits for those that wait for these openings may be decided, too
            seen |= more
            more = await self._read_waiting(more) - seen
        if unlocked := seen - self.aggregates.keys():
            raise _Unlocked(unlocked)

    async def _read_waiting(self, names: set[str]) -> set[str]:
        """Keep what waits for these openings; the other activities whose openings are among it."""
        heirs = set[str]()
        unopened = [name for name in sorted(names) if not self.is_open(name)]
        for page in pages(await self.tx.waiting(unopened)):
            for row in await self.tx.parked(page):
                heir = self._read_early(row)
                if heir is not None:
                    heirs.add(heir)
        return heirs

    def _read_early(self, row: ParkedRow) -> str | None:
        """Keep what a parked record says, not the record; the activity that it opens, if that is another."""
        key = InboxKey(row.source, row.id)
        content = read_arrival(row.record).content
        aggregate = self.aggregates.get(row.activity_id)
        heir = isinstance(content, Event) and content.activity_id != row.activity_id
        if aggregate is not None:  # else all of this is read again, once it is locked
            self.parked.add(key)
            if isinstance(content, Event):
                (aggregate.heirs if heir else aggregate.early).append(content)
            else:  # it could be read when it was parked: the schema has become stricter since
                letter = dead_row(row.activity_id, row.record, content.reason, content.error, self.now)
                self.out.outbox.append(letter)  # its record's offset is long committed
                self._die(key, row.record, content)
        return content.activity_id if isinstance(content, Event) and heir else None

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
        shelf = self._shelf(event) if aggregate.activity.state == UNOPENED else None
        if shelf is not None and self._too_many_parked(shelf, record):
            self._die(key, record, Failed("unprocessable", TOO_MANY_PARKED, key))
            self._take_back(event)
            return
        if self.is_too_much(event):
            self._die(key, record, Failed("unprocessable", TOO_LARGE, key))
            self._take_back(event)
            return
        if self.status[key] == "dead":  # it came to nothing before and gets its chance
            self.retried.add(key)
        self.status[key] = "repeat"
        decided = machine.handle(aggregate, event, self.now, self.rules, self.aggregates)
        for each, outcome in decided:
            self.outcomes[key if each is event else InboxKey(each.source, each.id)] = each, outcome
            if outcome.kind == "parked" and shelf is not None:
                self.records[key] = shelf, record
            elif outcome.kind in ("applied", "late"):
                self.changed.add(name)
        if aggregate.published:
            self.changed.add(name)
        if not isinstance(event.data, Completed):
            self.wide.add(name)
        if isinstance(event.data, Opened):
            self._note_opened([each for each, _ in decided])

    def _note_opened(self, decided: Sequence[Event]) -> None:
        """An opening may concern other activities: one that it continues, and those that waited for it."""
        for event in decided:
            if not isinstance(event.data, Opened):
                continue
            for name in (event.activity_id, event.data.continues):
                aggregate = self.aggregates.get(name or "")
                if aggregate is None:
                    continue
                if aggregate.published or aggregate.activity.continued_by == event.activity_id:
                    self.changed.add(aggregate.activity.activity_id)
                    self.wide.add(aggregate.activity.activity_id)
            opened = self.aggregates[event.activity_id]
            if not (
                opened.early or opened.heirs
            ):  # nothing waits any longer, even if it is refused as expired
                self.parked_counts.pop(event.activity_id, None)

    def _shelf(self, event: Event) -> str | None:
        """The activity for whose opening this event has to wait."""
        if not isinstance(event.data, Opened):
            return event.activity_id
        earlier = _continued(event)
        waits = earlier is not None and self.now < event.data.expires_at and not self.is_open(earlier)
        return earlier if waits else None

    def _too_many_parked(self, name: str, record: Record) -> bool:
        """Whether as many as may be wait already for the opening that this is ahead of; else it counts."""
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
        self.out.count(f"{DEAD_LETTERS}{why.reason}")

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
                shelf, record = self.records[key]
                out.park.append(ParkedRow(shelf, *key, now, record))
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
        if aggregate.passed:
            out.outbox.extend(passed_rows(aggregate.passed, self.now))
        out.wait.extend(aggregate.waits)
        if activity.state == UNOPENED:  # an `opened` was refused
            if self.before[name].appid and not aggregate.appid:
                out.announced.append(Announced(name))
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
        if activity.expiry_warned:
            wide = wide or any(isinstance(each.data, CardExpiring) for each in aggregate.published)
        if raised:
            ends = activity.state != card.state
            step = raise_revision(card, activity.state, activity.revision, self.now)
            if ends and activity.reason == "continued":
                step = close(step.card, self._owed(name, aggregate), self.now, CONTINUED)
            else:
                self.applied.nudges[name] = activity.revision
            card = step.card
            follow(out, step, self.now)
        if wide:
            out.activities.append(Moved(activity, card, due_at(activity, card, self.rules)))
        else:  # completions count members and raise a revision; everything else stays as it was read
            out.progress.append(Progress(activity, card))
        for group_openid, member in aggregate.touched.items():
            out.members.append(MemberRow(name, group_openid, member.state, member.late, member.done_at))

    def _take_back(self, event: Event) -> None:
        """If this is what the API announced: nothing is on the way any longer."""
        aggregate = self.aggregates[event.activity_id]
        if isinstance(event.data, Opened) and event.data.appid == aggregate.appid:
            aggregate.appid = ""
            self.changed.add(event.activity_id)

    def _owed(self, name: str, aggregate: Aggregate) -> list[str]:
        """Who is owed in an activity that is continued, before this batch and by it."""
        now = [each.group_openid for each in aggregate.touched.values() if each.owed]
        return [*self.owed.get(name, ()), *now]


def _continued(event: Event) -> str | None:
    """The other activity that this event's continues."""
    earlier = event.data.continues if isinstance(event.data, Opened) else None
    return None if earlier == event.activity_id else earlier


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
