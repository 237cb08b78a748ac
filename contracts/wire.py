"""The `data` of inbound events exactly as producers write it: what the JSON Schemas are made from."""

from __future__ import annotations

from typing import Annotated, Any, Final

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
from contracts.times import LONGEST_TIME, TIME_PATTERN
from contracts.wechat import Template, Version


def without(characters: str) -> dict[str, Any]:
    """No text with one of these in it. A pattern of what is legal would let a line feed in at the end, which
    `$` overlooks in some dialects; of `not`, model generators make a type of its own."""
    return {"if": {"pattern": characters}, "then": {"maxLength": 0}}


_NO_CONTROLS = without("[\\x00-\\x1f\\x7f-\\x9f]")
_NO_NUL = without("\\x00")

Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID, extra_json_schema=_NO_CONTROLS)]
Time = Annotated[
    str,
    Meta(
        extra_json_schema={
            "format": "date-time",
            "maxLength": LONGEST_TIME,
            "pattern": TIME_PATTERN,
            **without("[^0-9TtZz:.+-]"),
        },
    ),
]
_SECONDS = Meta(ge=0, le=LONGEST_NOTICE)
Notice = Annotated[int, _SECONDS] | Annotated[float, Meta(ge=0, le=LONGEST_NOTICE, multiple_of=1)]
"""An integer, which JSON lets be written as `3600.0` too."""
Members = Annotated[
    tuple[Id, ...],
    Meta(min_length=1, max_length=MOST_MEMBERS, description="`group_openid`s; repeats count once"),
]
Openids = Annotated[
    tuple[Id, ...],
    Meta(
        min_length=1,
        max_length=MOST_MEMBERS,
        description="`openid`s of people of the activity's room, who are members once they are bound there; "
        "repeats count once",
    ),
]
Title = Annotated[str, Meta(max_length=LONGEST_TITLE, extra_json_schema=_NO_NUL)]
Note = Annotated[str, Meta(max_length=LONGEST_NOTE, extra_json_schema=_NO_NUL)]

Deadline = Annotated[Time | None, Meta(description="when the activity ends; null: no deadline")]


class RoomData(msgspec.Struct, frozen=True):
    """Where the card lives: exactly one of the two."""

    opengid: Annotated[Id | None, Meta(description="of a group chat")] = None
    open_single_roomid: Annotated[Id | None, Meta(description="of a private chat")] = None


class OpenedData(msgspec.Struct, frozen=True):
    """An activity opened: its card is in the chat."""

    appid: Annotated[Id, Meta(description="the mini program whose card it is")]
    template: Annotated[Template, Meta(description="what the card asks for: to complete, or to take part")]
    expires_at: Annotated[Time, Meta(description="when the `activity_id` dies, as WeChat said")]
    version: Annotated[
        Version | None, Meta(description="which version of the mini program the card opens")
    ] = "release"
    title: Annotated[
        Title | None, Meta(description="for people who look at livecard; WeChat has its own")
    ] = ""
    publisher: Annotated[Id | None, Meta(description="`group_openid` of who sent the card")] = None
    room: Annotated[RoomData | None, Meta(description="the chat the card was sent to")] = None
    choose: Annotated[
        Choose | None, Meta(description="who takes part: `participants`, or everyone in the chat")
    ] = "listed"
    participants: Annotated[
        tuple[Id, ...] | None, Meta(description="`group_openid`s, for `choose`: `listed`; repeats count once")
    ] = ()
    deadline: Deadline = None
    notice: Annotated[
        Notice | None,
        Meta(
            description="seconds before its end at which the card says that it is near; left out: "
            f"{DEFAULT_NOTICE}"
        ),
    ] = None
    close_when_complete: Annotated[
        bool | None, Meta(description="end the activity when all `participants` are done")
    ] = False
    continues: Annotated[
        Id | None,
        Meta(
            description="`activity_id` of an earlier card of the same app and room that this one continues: "
            "its members, those of them who are done, deadline and notice are this one's unless they are "
            "given here, and it ends; of a card that has ended only the members"
        ),
    ] = None


class RescheduledData(msgspec.Struct, frozen=True):
    """The deadline moved."""

    deadline: Deadline
    notice: Annotated[
        Notice | None, Meta(description="as in `opened`; null or left out: the notice stays as it is")
    ] = None


class ClosedData(msgspec.Struct, frozen=True):
    """The activity was closed by its owner."""

    note: Annotated[Note | None, Meta(description="why, for people; livecard does not read it")] = None


class CompletedData(msgspec.Struct, frozen=True):
    """These members did what the card asks for; `members`, `openids` or both."""

    members: Members | None = None
    openids: Openids | None = None


class AddedData(msgspec.Struct, frozen=True):
    """These members take part from now on (for `choose`: `listed`); `members`, `openids` or both."""

    members: Members | None = None
    openids: Openids | None = None


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
    "data.deadline": f"{_TIME}, or null",
    "data.notice": f"an integer from 0 to {LONGEST_NOTICE} (seconds)",
    "data.close_when_complete": "true or false",
    "data.continues": _ID,
    "data.note": f"a string of at most {LONGEST_NOTE} characters without NUL",
    "data.members": f"an array of 1 to {MOST_MEMBERS} strings",
    "data.members[]": _ID,
    "data.openids": f"an array of 1 to {MOST_MEMBERS} strings",
    "data.openids[]": _ID,
}
"""What belongs where, in a producer's words; `[]` stands for any index."""
