"""What the machines work on: an activity with the members at hand, and what came of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from contracts.changes import ActivityChanged, CardExpiring, EventRefused, ParticipantDone
from contracts.events import Event
from statemachine.states import DONE, PENDING, UNOPENED

Change = ActivityChanged | ParticipantDone | EventRefused | CardExpiring
OutcomeKind = Literal["applied", "late", "duplicate", "refused", "parked", "dead"]

BEST_FIRST: Final = ("applied", "late", "duplicate", "refused")
"""An event's outcome is the best of its members' (design.md §3)."""


class Rules(msgspec.Struct, frozen=True):
    """The settings that decide states, µs. `margin`: how long before `expires_at` we end; `expiring`: how
    long before it is told that the id is about to die (0: never)."""

    margin: int = 60_000_000
    expiring: int = 0


class Activity(msgspec.Struct):
    """One activity as the lifecycle sees it. All times µs since the epoch; `""` = unopened.

    `deadline` is as given; the effective end is `timers.end_at`. `ended_at` is the moment
    up to which a completion counts as late rather than refused; `end_known_at` is when we learnt of it.
    `expiry_warned`: whether it was told that the id is about to die. `continued_by`: the last activity that
    continues this one.
    """

    activity_id: str
    state: str = UNOPENED
    reason: str = ""
    choose: str = "listed"
    close_when_complete: bool = False
    deadline: int | None = None
    notice: int = 0
    expires_at: int = 0
    ended_at: int | None = None
    end_known_at: int | None = None
    rescheduled_at: int | None = None
    participants: int = 0
    done: int = 0
    revision: int = 0
    opened_digest: str = ""
    expiry_warned: bool = False
    continued_by: str | None = None


class Room(NamedTuple):
    """A chat as one app sees it. `room_id`: its `opengid` or `open_single_roomid`."""

    appid: str
    room_id: str


class Unbound(NamedTuple):
    """Somebody whom an event names by an openid that is not bound in the activity's room yet: he waits.

    `time`: the event's, µs.
    """

    appid: str
    room_id: str
    openid: str
    activity_id: str
    source: str
    id: str
    type: str
    time: int


class Opening(msgspec.Struct, frozen=True):
    """What an `opened` fixes for good about the card; the machines do not look at it."""

    appid: str
    template: str
    version: str
    title: str
    publisher: str | None
    opengid: str | None
    open_single_roomid: str | None

    @property
    def room(self) -> Room | None:
        """The chat that the card was sent to, if the opening says which."""
        room_id = self.opengid or self.open_single_roomid
        return Room(self.appid, room_id) if room_id else None


class Member(msgspec.Struct):
    """One participant: `state` is the participant machine's; `late` ones are never delivered."""

    group_openid: str
    state: str = PENDING
    late: bool = False
    done_at: int | None = None

    @property
    def owed(self) -> bool:
        """Whether the card should show this member as done."""
        return self.state == DONE and not self.late


class Outcome(msgspec.Struct, frozen=True):
    """What became of one event. `reason` only with `refused`."""

    kind: OutcomeKind
    reason: str = ""


APPLIED: Final = Outcome("applied")
LATE: Final = Outcome("late")
DUPLICATE: Final = Outcome("duplicate")
PARKED: Final = Outcome("parked")


class Published(msgspec.Struct, frozen=True):
    """A change to publish: `key` makes its id unique within the activity, and deterministic."""

    key: str
    data: Change


class PassedOn(NamedTuple):
    """Members of whom this event told one activity too late, and the one that continues it."""

    to: str
    event: Event
    members: tuple[str, ...]


class Aggregate(msgspec.Struct):
    """An activity under its lock, with everything that events at hand may touch.

    `members` holds the rows at hand (those that the batch's events name); `touched` those that
    changed; `early` the events that wait for the opening, in order of arrival; `heirs` the openings of
    other activities that wait for it, since they continue this one. `bound`: who is who, by
    (appid, room_id, openid), of those whom events name by openid; `waits`: those of them who are not bound.
    `passed`: who came too late and is to be listed or done in the activity that continues this one.

    `appid` is whose it is; before the opening, for which app the id was announced.

    Of an activity that is continued all `members` are at hand, and `waiting`: who waited there before.
    """

    activity: Activity
    members: dict[str, Member] = msgspec.field(default_factory=dict)
    early: list[Event] = msgspec.field(default_factory=list)
    heirs: list[Event] = msgspec.field(default_factory=list)
    opening: Opening | None = None
    appid: str = ""
    touched: dict[str, Member] = msgspec.field(default_factory=dict)
    published: list[Published] = msgspec.field(default_factory=list)
    room: Room | None = None
    bound: Mapping[tuple[str, str, str], str] = msgspec.field(default_factory=dict)
    waits: list[Unbound] = msgspec.field(default_factory=list)
    waiting: list[Unbound] = msgspec.field(default_factory=list)
    passed: list[PassedOn] = msgspec.field(default_factory=list)

    def publish(self, key: str, data: Any) -> None:
        """Append one change, in order."""
        self.published.append(Published(key, data))
