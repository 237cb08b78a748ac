"""One example of everything on the wire: for the schemas, the AsyncAPI document and docs/events.md."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts import changes, events
from contracts.changes import (
    ActivityChanged,
    CardDelivered,
    CardExpiring,
    CardFailed,
    ChangeData,
    EventRef,
    EventRefused,
    ParticipantDone,
)
from contracts.decode import Dead, decode
from contracts.nudge import Nudge, encode_nudge
from contracts.records import Record, dead_headers
from contracts.times import parse_rfc3339
from contracts.topics import Topics

_ACTIVITY: Final = "966_NGiq"
_AT: Final = "2026-11-21T08:00:00Z"

DATA: Final[dict[str, dict[str, Any]]] = {
    events.OPENED: {
        "appid": "wx1",
        "template": "complete",
        "expires_at": "2026-11-22T08:00:00Z",
        "version": "release",
        "title": "团建报名统计",
        "publisher": "gp-cindy",
        "room": {"opengid": "g-1"},
        "choose": "listed",
        "participants": ["gp-alex", "gp-bob"],
        "deadline": "2026-11-21T18:00:00Z",
        "notice": 3600,
        "close_when_complete": False,
        "continues": None,
    },
    events.RESCHEDULED: {"deadline": "2026-11-21T20:00:00+08:00", "notice": 600},
    events.CLOSED: {"note": "rained off"},
    events.COMPLETED: {"members": ["gp-alex", "gp-bob"], "openids": ["oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"]},
    events.ADDED: {"members": ["gp-dora"], "openids": ["oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"]},
}
"""Of each event that livecard takes in: every field of its data."""

_CHANGES: Final[tuple[ChangeData, ...]] = (
    ActivityChanged(
        state="nearing", previous="open", reason="notice", revision=3, done=1, participants=2, warnings=()
    ),
    ParticipantDone(("gp-alex",)),
    CardDelivered(revision=2, target_state=1, members=("gp-alex",), calls=1),
    CardFailed(
        revision=2,
        verdict="rejected",
        errcode=47502,
        errmsg="invalid parameter rid: 67a1-0b2c",
        rid="67a1-0b2c",
        members=("gp-eve",),
    ),
    EventRefused(
        event=EventRef("/signup", "e-4", events.COMPLETED), reason="not_listed", members=("gp-eve",)
    ),
    CardExpiring("2026-11-22T08:00:00Z"),
)


def structured(type_name: str) -> dict[str, Any]:
    """An event as the value of its record in structured mode, or a change as livecard writes it."""
    if type_name in DATA:
        number = list(DATA).index(type_name) + 1
        attributes = {"specversion": "1.0", "id": f"e-{number}", "source": "/signup", "type": type_name}
        return {**attributes, "subject": _ACTIVITY, "time": _AT, "data": DATA[type_name]}
    (data,) = (each for each in _CHANGES if changes.CHANGE_TYPES[type(each)] == type_name)
    number = _CHANGES.index(data) + 1
    written = changes.encode_change(f"c-{number}", _ACTIVITY, parse_rfc3339(_AT), data)
    return dict(msgspec.json.decode(written))


def binary(type_name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the value of the same event in binary mode."""
    event = structured(type_name)
    data = event.pop("data")
    return {"content-type": changes.DATA_CONTENT_TYPE, **{f"ce_{k}": v for k, v in event.items()}}, data


def nudge() -> dict[str, Any]:
    """A nudge."""
    return dict(msgspec.json.decode(encode_nudge(Nudge(_ACTIVITY, 2))))


def dead_letter() -> tuple[dict[str, str], Any]:
    """The headers of a dead letter, and its value: an event without its data."""
    value = {name: each for name, each in structured(events.COMPLETED).items() if name != "data"}
    record = Record(Topics().events, 3, 1024, _ACTIVITY.encode(), msgspec.json.encode(value))
    read = decode(record.value)
    assert isinstance(read, Dead)
    headers = dead_headers(record, read.reason, read.error, parse_rfc3339("2026-11-21T08:00:01Z"))
    return {name: (text or b"").decode() for name, text in headers}, value
