"""What the store hands out and takes in. All times are µs since the epoch, UTC; durations µs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from contracts.records import Record
from statemachine.model import Activity, Opening
from statemachine.states import ENDED

OWED: Final = 0
CONFIRMED: Final = 1
SET_ASIDE: Final = 2
"""A member's `delivered`: not yet told to WeChat · WeChat said 0 · rejected alone or left out."""

CHANGES: Final = "changes"
DEAD: Final = "dead"
"""An outbox row's `topic`, by role; the relay knows the topic's real name."""

SHARDS: Final = 16
"""The outbox is relayed in this many shards. Fixed: rows carry their shard."""

PAGE_SIZE: Final = 16 << 20
"""Bytes of a page of the outbox beyond which no further row is read: dead letters may be large."""

PARKED_PAGE: Final = 500
PARKED_SIZE: Final = 2 << 20
"""Parked events that are read together, and the bytes beyond which no further one is."""


class InboxKey(NamedTuple):
    """What makes a record count once. Records without an id use `source=""`, id = coordinates."""

    source: str
    id: str


Admission = Literal["new", "repeat", "dead"]
"""`dead`: seen before, but it came to nothing (dead-lettered), so a replay of it counts."""


class MemberRow(msgspec.Struct):
    """One row of `members`, as the lifecycle reads and writes it."""

    activity_id: str
    group_openid: str
    state: str
    late: bool
    done_at: int | None


class ParkedRow(msgspec.Struct):
    """An event ahead of its `opened`: the record's bytes, headers and coordinates."""

    activity_id: str
    source: str
    id: str
    parked_at: int
    record: Record


ANY: Final = 1 << 62
"""No bound, as a number."""


class Waiting(NamedTuple):
    """A parked event that is not read yet, and the bytes of its record as it is kept."""

    key: InboxKey
    size: int


class Crowd(NamedTuple):
    """How many events wait for one opening, and the bytes of their records as they are kept."""

    events: int = 0
    size: int = 0

    def joined(self, size: int) -> Crowd:
        """With one more, of `size` bytes."""
        return Crowd(self.events + 1, self.size + size)

    def exceeds(self, most: Crowd) -> bool:
        """Whether it is more than may be, in number or in bytes."""
        return self.events > most.events or self.size > most.size


def pages(waiting: Iterable[Waiting]) -> Iterator[list[InboxKey]]:
    """What is parked, in order, in parts that fit into memory: a producer may send a megabyte each time."""
    page: list[InboxKey] = []
    size = 0
    for each in waiting:
        if len(page) == PARKED_PAGE or (page and size + each.size > PARKED_SIZE):
            yield page
            page, size = [], 0
        page.append(each.key)
        size += each.size
    if page:
        yield page


class OutboxRow(msgspec.Struct):
    """One message to publish. `id` is the CloudEvent's (a dead letter's coordinates).

    `body`: for `changes` the CloudEvent as JSON text; for `dead` the `Record` as JSON text
    (contracts.records.encode_record), with headers as they will be published.
    `seq` is given by the store and rises within an activity.
    """

    activity_id: str
    topic: str
    id: str
    body: str
    shard: int
    created_at: int
    seq: int = 0


class Gate(msgspec.Struct):
    """One per app ever seen. Closed while `closed_until` > now; 0 = open."""

    appid: str
    closed_until: int = 0
    closed_at: int = 0
    reason: str = ""
    errcode: int = 0
    errmsg: str = ""


class Card(msgspec.Struct):
    """The dispatcher's side of an activity's row: what is desired, what was delivered.

    `settled` is the last revision accounted for, as `settled_as` (`delivered`, `dead`, `expired`);
    revisions up to it that never had a plan of their own were superseded. `shown` is the
    target_state WeChat confirmed; `reached` is the highest open one (1, 2) that it may show by now, since
    a call for it may have been applied. `verdict` is set while the card is dead (`final`: for good).
    `list_limit` narrows the list while a rejected one is bisected (0: not narrowed);
    `singles` counts members rejected alone; `succeeded`: any call of this activity ever did.
    `code_attempts` counts unknown codes at revision `code_revision`.
    `failing_since`: since when WeChat takes none of its calls, without the time in which nobody tried
    (`statemachine.plan.failing_from`, `GONE`); None: it took the last one.
    `progress_*` gather the calls and members of a look that takes more than one call.
    """

    activity_id: str
    appid: str
    template: str
    version: str
    state: str
    revision: int
    expires_at: int
    end_known_at: int | None = None
    settled: int = 0
    settled_as: str = "delivered"
    shown: int = 1
    reached: int = 1
    cannot_lower: bool = False
    look_at: int = 0
    retry_at: int = 0
    attempts: int = 0
    code_attempts: int = 0
    code_revision: int = 0
    fence: int = 0
    lease_until: int = 0
    lease_by: str = ""
    suspect_at: int | None = None
    verdict: str = ""
    final: bool = False
    list_limit: int = 0
    singles: int = 0
    succeeded: bool = False
    progress_calls: int = 0
    progress_members: tuple[str, ...] = ()
    behind_since: int | None = None
    failing_since: int | None = None

    @property
    def behind(self) -> bool:
        """Whether a revision waits for delivery."""
        return self.revision > self.settled

    @property
    def end_due(self) -> bool:
        """Whether the end has not been shown yet: the end ignores throttling and goes first."""
        return self.state == ENDED and self.shown < 3 and self.behind


class Owed(NamedTuple):
    """A member owed to WeChat; `doubtful`: a call with it had an unknown outcome before."""

    group_openid: str
    doubtful: bool


class MemberMark(NamedTuple):
    """The dispatcher's write to a member: `delivered` as above and `doubtful`."""

    activity_id: str
    group_openid: str
    delivered: int
    doubtful: bool


class Attempt(msgspec.Struct):
    """One row of the attempt log: one call to WeChat."""

    activity_id: str
    revision: int
    fence: int
    at: int
    duration: int
    target_state: int
    members: int
    outcome: str
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""


class InboxOutcome(NamedTuple):
    """The outcome to write for an admitted key (admission itself writes `applied`)."""

    source: str
    id: str
    outcome: str
    reason: str


class Progress(NamedTuple):
    """An activity of which nothing but these changed: what most completions come to."""

    activity_id: str
    done: int
    revision: int


class Opened(NamedTuple):
    """The columns that only the opening writes. Revision 1 needs no call, so it also sets settled = 1
    (before the lifecycle columns are written, so that `behind_since` sees it)."""

    activity_id: str
    opening: Opening


class Writes(msgspec.Struct):
    """Everything that one transaction writes; each non-empty list is one statement.

    `activities`: lifecycle columns of locked rows plus `due_at` (parallel list); the statement
    also keeps `behind_since` (set when the row falls behind); `progress` is the same for rows of
    which only two columns changed. `cards`: dispatcher columns.
    `members`: upserts of lifecycle columns (insert with delivered = OWED). `counters` are added to
    the ledger in the slot of the writing process, last, in sorted order.
    """

    outcomes: list[InboxOutcome] = msgspec.field(default_factory=list)
    activities: list[Activity] = msgspec.field(default_factory=list)
    due_at: list[int | None] = msgspec.field(default_factory=list)
    progress: list[Progress] = msgspec.field(default_factory=list)
    opened: list[Opened] = msgspec.field(default_factory=list)
    members: list[MemberRow] = msgspec.field(default_factory=list)
    cards: list[Card] = msgspec.field(default_factory=list)
    marks: list[MemberMark] = msgspec.field(default_factory=list)
    park: list[ParkedRow] = msgspec.field(default_factory=list)
    unpark: list[InboxKey] = msgspec.field(default_factory=list)
    outbox: list[OutboxRow] = msgspec.field(default_factory=list)
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    gates: list[Gate] = msgspec.field(default_factory=list)
    apps: list[str] = msgspec.field(default_factory=list)
    counters: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the ledger."""
        if by:
            self.counters[name] = self.counters.get(name, 0) + by


@lru_cache(maxsize=16_384)
def shard_of(activity_id: str) -> int:
    """The outbox shard of an activity: stable for ever, the same in every process."""
    value = 2166136261
    for byte in activity_id.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value % SHARDS


def sorted_keys(keys: Sequence[InboxKey]) -> list[InboxKey]:
    """Keys in the one order in which every process takes them, without repeats."""
    return sorted(set(keys))
