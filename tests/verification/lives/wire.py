"""Events of a life on the wire."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts.events import (
    ADDED,
    CLOSED,
    COMPLETED,
    OPENED,
    RESCHEDULED,
    Added,
    Closed,
    Completed,
    Event,
    EventData,
    Opened,
    Rescheduled,
)
from contracts.times import format_rfc3339

TYPES: Final[dict[type[EventData], str]] = {
    Opened: OPENED,
    Rescheduled: RESCHEDULED,
    Closed: CLOSED,
    Completed: COMPLETED,
    Added: ADDED,
}
MOMENTS: Final = ("deadline", "expires_at")


def event(source: str, id_: str, activity_id: str, time: int, data: EventData) -> Event:
    """An event around its data."""
    return Event(source, id_, TYPES[type(data)], activity_id, time, data)


def envelope(kind: str, activity_id: str, key: tuple[str, str], time: str, data: Any) -> dict[str, Any]:
    """A CloudEvent around data that is written already; `key` is its `(source, id)`."""
    return {
        "specversion": "1.0",
        "id": key[1],
        "source": key[0],
        "type": kind,
        "subject": activity_id,
        "time": time,
        "data": data,
    }


def cloud_event(event: Event) -> dict[str, Any]:
    """The event as a producer writes it, every field of its data."""
    data = msgspec.to_builtins(event.data)
    data |= dict.fromkeys(data.pop("ignored", ()), "nobody reads it")
    for name in ("members", "openids"):
        if not data.get(name, True):
            del data[name]
    for name in MOMENTS:
        if data.get(name) is not None:
            data[name] = format_rfc3339(data[name])
    key = event.source, event.id
    return envelope(event.type, event.activity_id, key, format_rfc3339(event.time), data)
