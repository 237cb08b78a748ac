"""What the store hands out and takes in. All times are µs since the epoch, UTC; durations µs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from contracts.records import Record
from statemachine.card import Card
from statemachine.gate import Gate
from statemachine.model import Activity, Opening, Unbound

SHOWN_ATTEMPTS: Final = 20
"""So many of an activity's last attempts are shown."""

OWED: Final = 0
CONFIRMED: Final = 1
SKIPPED: Final = 2
"""A member's `delivered`: not yet told to WeChat · WeChat said 0 · rejected alone or left out by the end."""

CHANGES: Final = "changes"
DEAD: Final = "dead"
EVENTS: Final = "events"
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


class ParkedCount(NamedTuple):
    """How many events wait for one opening, and the bytes of their records as they are kept."""

    events: int = 0
    size: int = 0

    def joined(self, size: int) -> ParkedCount:
        """With one more, of `size` bytes."""
        return ParkedCount(self.events + 1, self.size + size)

    def exceeds(self, most: ParkedCount) -> bool:
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

    `body`: for `changes` and `events` (what the gateway took in, what waited for a binding) the CloudEvent as
    JSON text; for `dead` the `Record` as JSON text
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


class MemberCounts(msgspec.Struct, frozen=True):
    """An activity's members by what became of them; `skipped` names the first 20."""

    pending: int = 0
    done: int = 0
    late: int = 0
    owed: int = 0
    confirmed: int = 0
    skipped: tuple[str, ...] = ()


class Parked(msgspec.Struct, frozen=True):
    """How many events wait for an opening, and since when the oldest does."""

    events: int = 0
    since: int | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept about one activity, in one snapshot; `attempts` newest first."""

    activity: Activity
    card: Card
    due_at: int | None
    title: str
    publisher: str | None
    opengid: str | None
    open_single_roomid: str | None
    seen_at: int
    opened_at: int | None
    members: MemberCounts
    gate: Gate | None
    parked: Parked
    attempts: tuple[Attempt, ...]
    now: int


class OpenedActivity(msgspec.Struct, frozen=True):
    """What the opening said of an activity, and who is listed, by group_openid; nobody for `everyone`."""

    activity_id: str
    appid: str
    template: str
    version: str
    title: str
    publisher: str | None
    choose: str
    expires_at: int
    listed: tuple[str, ...] = ()


class InboxOutcome(NamedTuple):
    """The outcome to write for an admitted key (admission itself writes `applied`)."""

    source: str
    id: str
    outcome: str
    reason: str


class Locked(NamedTuple):
    """A locked row of `activities`: the activity, and its card's delivery."""

    activity: Activity
    card: Card


class Due(msgspec.Struct):
    """Locked cards that are due, each app's gate as it was seen, and the database's now."""

    cards: list[Card] = msgspec.field(default_factory=list)
    gates: dict[str, Gate] = msgspec.field(default_factory=dict)
    now: int = 0


class Moved(NamedTuple):
    """A row of `activities` to write whole: everything but what the opening fixed."""

    activity: Activity
    card: Card
    due_at: int | None


class Progress(NamedTuple):
    """An activity in which members became done and nothing else happened: what most completions come to. Of
    the card only what a raise of such a card changes is written."""

    activity: Activity
    card: Card


class Opened(NamedTuple):
    """The columns that only the opening writes."""

    activity_id: str
    opening: Opening


class Announced(NamedTuple):
    """An activity whose `opened` is on its way through the outbox: whose it is, what can be said of it. With
    nothing but its id the announcement is taken back."""

    activity_id: str
    appid: str = ""
    title: str = ""
    expires_at: int = 0
    opengid: str | None = None
    open_single_roomid: str | None = None


class Writes(msgspec.Struct):
    """Everything that one transaction writes; each non-empty list is one statement.

    `cards`: the delivery's columns alone. Whatever writes a card also writes when it wants a dispatcher
    (`statemachine.card.attempt_at`).
    `members`: upserts of lifecycle columns (insert with delivered = OWED). `counters` are added to
    the ledger in the slot of the writing process, last, in sorted order. `wait`: people who wait for their
    binding, which is locked; the store counts those that did not wait already for an event of that type in
    that activity, of the others it keeps the earliest time.
    """

    outcomes: list[InboxOutcome] = msgspec.field(default_factory=list)
    activities: list[Moved] = msgspec.field(default_factory=list)
    progress: list[Progress] = msgspec.field(default_factory=list)
    announced: list[Announced] = msgspec.field(default_factory=list)
    opened: list[Opened] = msgspec.field(default_factory=list)
    members: list[MemberRow] = msgspec.field(default_factory=list)
    cards: list[Card] = msgspec.field(default_factory=list)
    marks: list[MemberMark] = msgspec.field(default_factory=list)
    park: list[ParkedRow] = msgspec.field(default_factory=list)
    unpark: list[InboxKey] = msgspec.field(default_factory=list)
    wait: list[Unbound] = msgspec.field(default_factory=list)
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
