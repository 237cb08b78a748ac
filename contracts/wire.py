"""The `data` of inbound events exactly as producers write it: what the JSON Schemas are made from."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from contracts.events import (
    ADDED,
    CLOSED,
    COMPLETED,
    DEFAULT_NOTICE,
    LONGEST_ID,
    LONGEST_NOTE,
    LONGEST_NOTICE,
    LONGEST_TITLE,
    MOST_MEMBERS,
    OPENED,
    RESCHEDULED,
    Choose,
)
from contracts.wechat import Template, Version

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_ID,
        description="1–128 characters without control characters",
        extra_json_schema={"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"},
    ),
]
Time = Annotated[
    str,
    Meta(
        description="RFC 3339 with an offset, years 2000–2100; digits beyond the µs are cut off",
        extra_json_schema={"format": "date-time"},
    ),
]
Notice = Annotated[
    int,
    Meta(ge=0, le=LONGEST_NOTICE, description="seconds before the end at which the card says it is near"),
]
Members = Annotated[
    tuple[Id, ...],
    Meta(min_length=1, max_length=MOST_MEMBERS, description="group_openids; repeats count once"),
]
Title = Annotated[str, Meta(max_length=LONGEST_TITLE, extra_json_schema={"pattern": "^[^\\u0000]*$"})]
Note = Annotated[str, Meta(max_length=LONGEST_NOTE, extra_json_schema={"pattern": "^[^\\u0000]*$"})]


class RoomData(msgspec.Struct, frozen=True):
    """Where the card lives: exactly one of the two."""

    opengid: Id | None = None
    open_single_roomid: Id | None = None


class OpenedData(msgspec.Struct, frozen=True):
    """An activity opened: its card is in the chat."""

    appid: Id
    template: Template
    expires_at: Time
    version: Version | None = "release"
    title: Title | None = ""
    publisher: Id | None = None
    room: RoomData | None = None
    choose: Choose | None = "listed"
    participants: tuple[Id, ...] | None = ()
    deadline: Time | None = None
    notice: Notice | None = DEFAULT_NOTICE
    close_when_complete: bool | None = False


class RescheduledData(msgspec.Struct, frozen=True):
    """The deadline moved; null means that there is none any more. Without `notice` the old one stays."""

    deadline: Time | None = None
    notice: Notice | None = None


class ClosedData(msgspec.Struct, frozen=True):
    """The activity was closed by its owner."""

    note: Note | None = None


class CompletedData(msgspec.Struct, frozen=True):
    """These members did what the card asks for."""

    members: Members


class AddedData(msgspec.Struct, frozen=True):
    """These members take part from now on (for `choose` = `listed`)."""

    members: Members


WIRE: Final[dict[str, type[msgspec.Struct]]] = {
    OPENED: OpenedData,
    RESCHEDULED: RescheduledData,
    CLOSED: ClosedData,
    COMPLETED: CompletedData,
    ADDED: AddedData,
}

_ID = f"a string of 1–{LONGEST_ID} characters without control characters"
_TIME = "a time in RFC 3339 with an offset, years 2000–2100"

EXPECTED: Final[dict[str, str]] = {
    "specversion": '"1.0"',
    "id": _ID,
    "source": _ID,
    "type": "a non-empty string",
    "subject": _ID,
    "time": _TIME,
    "data": "an object",
    "data.appid": _ID,
    "data.template": '"complete" or "participate"',
    "data.expires_at": _TIME,
    "data.version": '"release", "develop" or "trial"',
    "data.title": f"a string of at most {LONGEST_TITLE} characters without NUL",
    "data.publisher": _ID,
    "data.room": "an object with exactly one of opengid and open_single_roomid",
    "data.room.opengid": _ID,
    "data.room.open_single_roomid": _ID,
    "data.choose": '"listed" or "everyone"',
    "data.participants": "an array of strings",
    "data.participants[]": _ID,
    "data.deadline": _TIME,
    "data.notice": f"an integer from 0 to {LONGEST_NOTICE} (seconds)",
    "data.close_when_complete": "true or false",
    "data.note": f"a string of at most {LONGEST_NOTE} characters without NUL",
    "data.members": f"an array of 1 to {MOST_MEMBERS} strings",
    "data.members[]": _ID,
}
"""What belongs where, in a producer's words; `[]` stands for any index."""
