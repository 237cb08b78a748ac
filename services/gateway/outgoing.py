"""Events that the API makes, on their way to `activity.events`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts import wire
from contracts.times import format_rfc3339
from services.gateway.keys import Caller
from services.runtime.ports import Chance
from services.store.rows import EVENTS, OutboxRow, shard_of

FIELDS: Final = {kind: msgspec.structs.fields(each) for kind, each in wire.WIRE.items()}
"""Of each type's data. They are slow to find."""
SOURCE: Final = "/livecard/api/"


def new_event_id(chance: Chance) -> str:
    """Unique among all events of the API."""
    return f"{chance.getrandbits(128):032x}"


def event_row(  # noqa: PLR0917 (the attributes of a CloudEvent)
    caller: Caller, event_id: str, kind: str, activity_id: str, now: int, data: Any
) -> OutboxRow:
    """A CloudEvent as the outbox keeps it; `data` is what is written, `now` the database's."""
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"{SOURCE}{caller.name}",
        "type": kind,
        "subject": activity_id,
        "time": format_rfc3339(now),
        "datacontenttype": "application/json",
        "data": data,
    }
    body = msgspec.json.encode(event).decode()
    return OutboxRow(activity_id, EVENTS, event_id, body, shard_of(activity_id), now)


def normal(kind: str, body: bytes) -> Any:
    """The data as producers write it, without what its type does not know: of bounded length, so that the
    broker takes it. It was read before (`services.gateway.bodies.read_event`)."""
    read = msgspec.json.decode(body, type=wire.WIRE[kind])
    return {
        each.encode_name: value
        for each in FIELDS[kind]
        if (value := getattr(read, each.name)) is not None or each.required
    }
