"""Data that breaks the schema, and the words its producer gets."""

from __future__ import annotations

from typing import Any

from contracts.events import ADDED, CLOSED, COMPLETED, OPENED, RESCHEDULED
from tests.contracts.samples import LEFT_OUT, OPENED_DATA

ID = "a string of 1–128 characters without control characters"
TIME = "a time in RFC 3339 with an offset, years 2000–2100"
NOBODY = "data.members: expected an array of 1 to 500 strings, here or in openids"
NOTE = "data.note: expected a string of at most 4000 characters without NUL"

IN_BINARY = " (read in binary mode, as it has a ce_specversion header; content-type application/json)"
PLAIN = " (read in structured mode, as it has no ce_specversion header; "
"""How the error of a record ends that was read in that mode."""

_INVALID: list[tuple[str, Any, str]] = [
    (COMPLETED, {"members": ["a", "b", "c", 7]}, f"data.members[3]: expected {ID}, got int 7"),
    (COMPLETED, {"members": ["a", None]}, f"data.members[1]: expected {ID}, got null"),
    (COMPLETED, {"members": [""]}, f"data.members[0]: expected {ID}, got an empty string"),
    (COMPLETED, {"members": ["x" * 129]}, f"data.members[0]: expected {ID}, got a string of 129 characters"),
    (
        COMPLETED,
        {"members": ["a", "b\x00"]},
        f"data.members[1]: expected {ID}, got a string with the control character U+0000 at 1",
    ),
    (
        COMPLETED,
        {"members": ["\x85"]},
        f"data.members[0]: expected {ID}, got a string with the control character U+0085 at 0",
    ),
    (COMPLETED, {"members": []}, "data.members: expected an array of 1 to 500 strings, got array of 0"),
    (
        COMPLETED,
        {"members": ["a"] * 501},
        "data.members: expected an array of 1 to 500 strings, got array of 501",
    ),
    (COMPLETED, {"members": "a"}, 'data.members: expected an array of 1 to 500 strings, got "a"'),
    (COMPLETED, {"members": None}, f"{NOBODY}, got nothing"),
    (COMPLETED, {"members": None, "openids": None}, f"{NOBODY}, got nothing"),
    (COMPLETED, {}, f"{NOBODY}, got nothing"),
    (ADDED, {}, f"{NOBODY}, got nothing"),
    (ADDED, {"openId": ["o"]}, f"{NOBODY}, got nothing, but unknown fields: openId"),
    (COMPLETED, {"openids": []}, "data.openids: expected an array of 1 to 500 strings, got array of 0"),
    (
        COMPLETED,
        {"members": [], "openids": ["o"]},
        "data.members: expected an array of 1 to 500 strings, got array of 0",
    ),
    (
        ADDED,
        {"members": ["a"], "openids": ["a"] * 501},
        "data.openids: expected an array of 1 to 500 strings, got array of 501",
    ),
    (COMPLETED, {"openids": "o"}, 'data.openids: expected an array of 1 to 500 strings, got "o"'),
    (COMPLETED, {"openids": ["o", 7]}, f"data.openids[1]: expected {ID}, got int 7"),
    (ADDED, {"openids": ["x" * 129]}, f"data.openids[0]: expected {ID}, got a string of 129 characters"),
    (
        COMPLETED,
        {"members": ["a"], "openids": ["o\x7f"]},
        f"data.openids[0]: expected {ID}, got a string with the control character U+007F at 1",
    ),
    (ADDED, {"members": [{}]}, f"data.members[0]: expected {ID}, got object"),
    (COMPLETED, None, "data: expected an object, got null"),
    (COMPLETED, LEFT_OUT, "data: expected an object, got nothing"),
    (COMPLETED, [1, 2], "data: expected an object, got array of 2"),
    (COMPLETED, True, "data: expected an object, got true"),
    (RESCHEDULED, LEFT_OUT, "data: expected an object, got nothing"),
    (RESCHEDULED, {"deadline": 5}, f"data.deadline: expected {TIME}, or null, got int 5"),
    (RESCHEDULED, {"deadline": "soon"}, f'data.deadline: expected {TIME}, or null, got "soon"'),
    (RESCHEDULED, {}, f"data.deadline: expected {TIME}, or null, got nothing"),
    (OPENED, {**OPENED_DATA, "continues": 7}, f"data.continues: expected {ID}, got int 7"),
    (
        OPENED,
        {**OPENED_DATA, "continues": "a\n"},
        f"data.continues: expected {ID}, got a string with the control character U+000A at 1",
    ),
    (RESCHEDULED, {"notice": 60}, f"data.deadline: expected {TIME}, or null, got nothing"),
    (
        RESCHEDULED,
        {"Deadline": "2026-11-21T08:00:00Z"},
        f"data.deadline: expected {TIME}, or null, got nothing, but unknown fields: Deadline",
    ),
    (
        RESCHEDULED,
        {"deadline": None, "notice": -1},
        "data.notice: expected an integer from 0 to 604800 (seconds), got int -1",
    ),
    (
        RESCHEDULED,
        {"deadline": None, "notice": 604_801},
        "data.notice: expected an integer from 0 to 604800 (seconds), got int 604801",
    ),
    (
        RESCHEDULED,
        {"deadline": None, "notice": 1.5},
        "data.notice: expected an integer from 0 to 604800 (seconds), got float",
    ),
    (
        RESCHEDULED,
        {"deadline": None, "notice": 10**30},
        "data.notice: expected an integer from 0 to 604800 (seconds), got",
    ),
    (
        RESCHEDULED,
        {"deadline": None, "notice": "60"},
        'data.notice: expected an integer from 0 to 604800 (seconds), got "60"',
    ),
    (
        CLOSED,
        {"note": "x" * 4_001},
        f"{NOTE}, got a string of 4001 characters",
    ),
    (
        CLOSED,
        {"note": "a\x00"},
        f"{NOTE}, got a string with the control character U+0000 at 1",
    ),
]

_OPENED_INVALID: list[tuple[dict[str, Any], str]] = [
    ({"appid": LEFT_OUT}, f"data.appid: expected {ID}, got nothing"),
    ({"appid": None}, f"data.appid: expected {ID}, got null"),
    ({"appid": "a\n"}, f"data.appid: expected {ID}, got a string with the control character U+000A at 1"),
    ({"template": LEFT_OUT}, 'data.template: expected "complete" or "participate", got nothing'),
    ({"template": "done"}, 'data.template: expected "complete" or "participate", got "done"'),
    ({"expires_at": LEFT_OUT}, f"data.expires_at: expected {TIME}, got nothing"),
    ({"expires_at": "2026-11-22"}, f'data.expires_at: expected {TIME}, got "2026-11-22"'),
    ({"expires_at": "2101-01-01T00:00:00Z"}, f'data.expires_at: expected {TIME}, got "2101-01-01T00:00:00Z"'),
    ({"deadline": "never"}, f'data.deadline: expected {TIME}, or null, got "never"'),
    ({"version": "beta"}, 'data.version: expected "release", "develop" or "trial", got "beta"'),
    ({"version": 0}, 'data.version: expected "release", "develop" or "trial", got int 0'),
    ({"title": 4}, "data.title: expected a string of at most 1000 characters without NUL, got int 4"),
    (
        {"title": "x" * 1_001},
        "data.title: expected a string of at most 1000 characters without NUL, got a str",
    ),
    (
        {"title": "\x00"},
        "data.title: expected a string of at most 1000 characters without NUL, got a string wi",
    ),
    ({"publisher": ""}, f"data.publisher: expected {ID}, got an empty string"),
    (
        {"publisher": "\x7f"},
        f"data.publisher: expected {ID}, got a string with the control character U+007F at 0",
    ),
    (
        {"room": "g"},
        'data.room: expected an object with exactly one of opengid and open_single_roomid, got "g"',
    ),
    (
        {"room": {}},
        "data.room: expected an object with exactly one of opengid and open_single_roomid, got neither",
    ),
    (
        {"room": {"opengid": "a", "open_single_roomid": "b"}},
        "data.room: expected an object with exactly one of opengid and open_single_roomid, got both",
    ),
    ({"room": {"opengid": 4}}, f"data.room.opengid: expected {ID}, got int 4"),
    (
        {"room": {"opengid": "\t"}},
        f"data.room.opengid: expected {ID}, got a string with the control character U+0009 at 0",
    ),
    (
        {"room": {"open_single_roomid": "\t"}},
        f"data.room.open_single_roomid: expected {ID}, got a string with the control character U+0009 at 0",
    ),
    ({"choose": "some"}, 'data.choose: expected "listed" or "everyone", got "some"'),
    ({"participants": {}}, "data.participants: expected an array of strings, got object"),
    ({"participants": ["a", 5]}, f"data.participants[1]: expected {ID}, got int 5"),
    (
        {"participants": ["a", "\x1b"]},
        f"data.participants[1]: expected {ID}, got a string with the control character U+001B at 0",
    ),
    ({"notice": -1}, "data.notice: expected an integer from 0 to 604800 (seconds), got int -1"),
    ({"close_when_complete": 1}, "data.close_when_complete: expected true or false, got int 1"),
]


def _opened(changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**OPENED_DATA, **changed}.items() if value is not LEFT_OUT}


REFUSALS = [*_INVALID, *((OPENED, _opened(changed), error) for changed, error in _OPENED_INVALID)]
"""Type, data (LEFT_OUT: none at all) and how the error begins."""
