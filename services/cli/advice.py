"""What `livecard send` says about events that are right, and perhaps not what their producer means."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from contracts.decode import ignored
from contracts.events import OPENED, Event, Opened, Rescheduled
from contracts.times import format_rfc3339
from contracts.wire import WIRE, RoomData
from statemachine.activity import (
    COMPLETE_IGNORED,
    FIELD_IGNORED,
    PARTICIPANTS_IGNORED,
    opening_warnings,
)
from statemachine.model import Rules
from statemachine.turning import DEADLINE_CLAMPED

_WORDS: Final = {
    DEADLINE_CLAMPED: "data.deadline is too late: the activity ends before, when its id is about to expire",
    COMPLETE_IGNORED: "data.close_when_complete is ignored: it needs data.choose to be listed",
    PARTICIPANTS_IGNORED: "data.participants is ignored: data.choose is everyone",
}


def advice(event: Event, value: bytes, now: int, rules: Rules) -> list[str]:
    """A sentence for each oddity of an event that came out of `value`; `now` in µs."""
    data = event.data
    said = [_field(event.type, name) for name in ignored(value)]
    if isinstance(data, Opened):
        if data.expires_at <= now:
            expired = format_rfc3339(data.expires_at)
            said.append(f"data.expires_at is past ({expired}): livecard refuses the event as expired")
        warnings = opening_warnings(data, rules)
        said += [_WORDS[each] for each in warnings if not each.startswith(FIELD_IGNORED)]
    if isinstance(data, Opened | Rescheduled) and data.deadline is not None and data.deadline <= now:
        deadline = format_rfc3339(data.deadline)
        said.append(f"data.deadline is past ({deadline}): the activity ends at once")
    return said


def _field(type_name: str, name: str) -> str:
    """An unknown field, and the one that was meant, if one is like it."""
    fields = list(WIRE[type_name].__struct_fields__)
    if type_name == OPENED:
        fields += [f"room.{each}" for each in RoomData.__struct_fields__]
    like = get_close_matches(name.casefold().replace("-", "_"), fields, 1)
    meant = f"; data.{like[0]} is meant?" if like else ""
    return f"data.{name} is no field of {type_name} and is ignored{meant}"
