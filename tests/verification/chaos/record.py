"""The record of a run: everything that the judge looks at, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from contracts.changes import Change
from contracts.events import Event

Key = tuple[str, str]
"""An event's `(source, id)`."""


@dataclass(eq=False)
class Call:
    """A message as WeChat saw it: when it `came` and its answer `left` (µs), and what that was.

    `answer` is an errcode, `HTTP …` or `nothing`.
    """

    activity_id: str
    came: int
    target_state: int
    members: tuple[str, ...]
    left: int = 0
    answer: str = "nothing"


@dataclass(frozen=True)
class Arrival:
    """One record of the events' topic; `at` is the broker's time, µs."""

    event: Event
    partition: int
    offset: int
    at: int


@dataclass(frozen=True)
class Taken:
    """An event as the store took it in."""

    outcome: str
    reason: str
    at: int


@dataclass(frozen=True)
class Attempt:
    """A call as its caller settled it, at `at` (µs)."""

    at: int
    duration: int
    target_state: int
    members: int
    outcome: str
    fence: int


@dataclass(frozen=True)
class Shown:
    """What a card shows: its state, how often each member was posted.

    `room`: who may be shown at all. `lowered`: what brought it down after its end: when, state and members.
    """

    target_state: int
    posts: dict[str, int]
    room: frozenset[str]
    lowered: tuple[tuple[int, int, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Harm:
    """Something done to the line, from `at` until `until` (µs)."""

    at: int
    until: int
    what: str
    kills: int = 0


@dataclass(frozen=True)
class Published:
    """One record of the changes' topic, as it stands there."""

    change: Change
    value: bytes
    at: int


@dataclass
class Wish:
    """What a caller of the API asked for under this name, which is the activity's title, and each answer: by
    `Idempotency-Key` the ids in it, first the activity's, then those of the events made after it."""

    name: str
    answers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def activity_ids(self) -> set[str]:
        """Of the answers to the creation."""
        return set(next(iter(self.answers.values()), ()))

    @property
    def events(self) -> list[list[str]]:
        """The ids of the events, request by request."""
        return [*self.answers.values()][1:]


@dataclass
class Record:
    """A whole run. What is by activity is in order; `events` is how many distinct ones were sent, by
    producers and through the API. `announced`: the activities that the store has, by title."""

    seed: int
    begin: int
    end: int
    margin: int
    lease: int
    events: int
    records: int
    arrivals: dict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    taken: dict[Key, Taken] = field(default_factory=dict)
    changes: dict[str, list[Published]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    cards: dict[str, Shown] = field(default_factory=dict)
    harms: list[Harm] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    announced: dict[str, set[str]] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
