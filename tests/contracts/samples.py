"""Events as producers write them, for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

from contracts.events import ADDED, CLOSED, COMPLETED, OPENED, RESCHEDULED

OPENED_DATA: dict[str, Any] = {
    "appid": "wx1",
    "template": "complete",
    "version": "release",
    "title": "团建报名统计",
    "publisher": "gp-cindy",
    "room": {"opengid": "g-1"},
    "choose": "listed",
    "participants": ["gp-alex", "gp-bob"],
    "deadline": "2026-11-21T18:00:00Z",
    "notice": 3600,
    "expires_at": "2026-11-22T08:00:00Z",
    "close_when_complete": False,
}

DATA: dict[str, dict[str, Any]] = {
    OPENED: OPENED_DATA,
    RESCHEDULED: {"deadline": "2026-11-21T19:00:00Z", "notice": 60},
    CLOSED: {"note": "done"},
    COMPLETED: {"members": ["gp-alex"]},
    ADDED: {"members": ["gp-dora"], "openids": ["o-eve"]},
}

LEFT_OUT: Any = object()
SAMPLE: Any = object()


def event(type_name: str, data: Any = SAMPLE, **attributes: Any) -> dict[str, Any]:
    """A whole event in structured mode; an attribute given as LEFT_OUT is not there."""
    made = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/signup",
        "type": type_name,
        "subject": "966_NGiq",
        "time": "2026-11-21T08:00:00Z",
        "data": DATA.get(type_name, {}) if data is SAMPLE else data,
        **attributes,
    }
    return {name: value for name, value in made.items() if value is not LEFT_OUT}


def value_of(type_name: str, data: Any = SAMPLE, **attributes: Any) -> bytes:
    return json.dumps(event(type_name, data, **attributes)).encode()


def binary(type_name: str, **changed: bytes | None) -> list[tuple[str, bytes | None]]:
    """The headers of the same event in binary mode."""
    headers: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"/signup",
        "ce_type": type_name.encode(),
        "ce_subject": b"966_NGiq",
        "ce_time": b"2026-11-21T08:00:00Z",
        "content-type": b"application/json",
    }
    return list({**headers, **changed}.items())
