"""The events other services publish, as the services see them: checked, times in µs (design.md §4)."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

from contracts.wechat import Template, Version

OPENED: Final = "livecard.activity.opened"
RESCHEDULED: Final = "livecard.activity.rescheduled"
CLOSED: Final = "livecard.activity.closed"
COMPLETED: Final = "livecard.participant.completed"
ADDED: Final = "livecard.participant.added"

Choose = Literal["listed", "everyone"]

DEFAULT_NOTICE: Final = 3600
"""Seconds before the end at which a card says 即将截止, unless the producer names another number."""
LONGEST_NOTICE: Final = 604_800
MOST_MEMBERS: Final = 500
LONGEST_ID: Final = 128
LONGEST_TITLE: Final = 1_000
LONGEST_NOTE: Final = 4_000


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Where the card lives: exactly one of the two is given."""

    opengid: str | None = None
    open_single_roomid: str | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at` and `deadline` are µs since the epoch, `notice` is in seconds; `ignored` names the fields
    that were given and do not exist. `continues`: the `activity_id` of an earlier card, which hands over what
    is not given anew; with it `notice` may be None: that of the earlier one."""

    appid: str
    template: Template
    expires_at: int
    version: Version = "release"
    title: str = ""
    publisher: str | None = None
    room: Room | None = None
    choose: Choose = "listed"
    participants: tuple[str, ...] = ()
    deadline: int | None = None
    notice: int | None = DEFAULT_NOTICE
    close_when_complete: bool = False
    continues: str | None = None
    ignored: tuple[str, ...] = ()


class Rescheduled(msgspec.Struct, frozen=True, kw_only=True):
    """`deadline` None: there is none any more; `notice` (seconds) None: keep the one there is."""

    deadline: int | None
    notice: int | None = None


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    note: str | None = None


class Completed(msgspec.Struct, frozen=True, gc=False):
    """`members`: group_openids, `openids`: people of the activity's room by their openid. At most 500 of
    each, and one at least; each once, in the producer's order."""

    members: tuple[str, ...] = ()
    openids: tuple[str, ...] = ()


class Added(msgspec.Struct, frozen=True):
    """As `Completed`."""

    members: tuple[str, ...] = ()
    openids: tuple[str, ...] = ()


EventData = Opened | Rescheduled | Closed | Completed | Added


class Event(msgspec.Struct, frozen=True, gc=False):
    """A readable event; `(source, id)` makes it unique, `time` (µs) is when it happened."""

    source: str
    id: str
    type: str
    activity_id: str
    time: int
    data: EventData


_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Opened)}


def opened_digest(opened: Opened) -> str:
    """32 hex digits, equal when two openings say the same; participants are a set (design.md §3).

    What equals its default is left out, so that a field added later keeps the digests of before; what was
    ignored says nothing.
    """
    said = {
        name: value
        for name, value in msgspec.structs.asdict(opened).items()
        if value != _DEFAULTS[name] and name not in ("participants", "ignored")
    }
    if opened.participants:
        said["participants"] = sorted(set(opened.participants))
    canonical = msgspec.json.encode(said, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:32]
