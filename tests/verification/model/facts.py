"""What the reference model keeps of an activity, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.changes import ActivityChanged, CardExpiring, EventRefused, ParticipantDone
from contracts.events import Event, Opened

Key = tuple[str, str]
Change = ActivityChanged | ParticipantDone | EventRefused | CardExpiring
Result = tuple[str, str]
"""An outcome and, when it is `refused`, why; otherwise `""`."""
Wait = tuple[str, str, Key, str, int]
"""Somebody who is not known yet: in which activity, his openid, and the key, type and time of the event."""

Passed = tuple[str, Key, str, int, tuple[str, ...]]
"""Members of whom was heard too late, for the activity that goes on: its id, and the event's key, type and
time."""

NUMBERS = {"open": 1, "nearing": 2, "ended": 3}
NOTHING_YET = ""


@dataclass(frozen=True)
class Expected:
    """What is true of one activity. `state` is "" before it was opened; times are µs.

    `done` should show as done on the card; `late` finished too late for that. `listed` is None where
    everyone takes part. `outcomes` is by `(source, id)`; `published` is in order; `waiting` are people who
    are not known in the room yet.
    """

    state: str
    reason: str
    revision: int
    done: frozenset[str]
    late: frozenset[str]
    listed: frozenset[str] | None
    outcomes: dict[Key, Result]
    published: tuple[Change, ...]
    ended_at: int | None
    waiting: frozenset[Wait] = frozenset()

    @property
    def target_state(self) -> int:
        """The number WeChat should know; 1, where every card starts, before the opening."""
        return NUMBERS.get(self.state, 1)


@dataclass
class Life:
    """Everything known of one activity, as plain facts."""

    opening: Opened | None = None
    promised: str = ""
    waiting: list[Event] = field(default_factory=list)
    followers: list[Event] = field(default_factory=list)
    state: str = NOTHING_YET
    reason: str = ""
    revision: int = 0
    deadline: int | None = None
    notice_us: int = 0
    last_reschedule: int | None = None
    warned: bool = False
    ended_at: int | None = None
    listed: set[str] = field(default_factory=set)
    done_in_time: set[str] = field(default_factory=set)
    done_late: set[str] = field(default_factory=set)
    outcomes: dict[Key, Result] = field(default_factory=dict)
    published: list[Change] = field(default_factory=list)
    unknown: list[Wait] = field(default_factory=list)
    goes_on_as: str = ""

    @property
    def room(self) -> tuple[str, str] | None:
        """The app and the chat, if the opening names one."""
        if self.opening is None or self.opening.room is None:
            return None
        chat = self.opening.room
        return self.opening.appid, chat.opengid or chat.open_single_roomid or ""
