"""An event as the record that carries it, for producers in Python, who need `contracts` and msgspec alone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from contracts import wire
from contracts.changes import CONTENT_TYPE
from contracts.decode import Dead, decode_structured

WireData = wire.OpenedData | wire.RescheduledData | wire.ClosedData | wire.CompletedData | wire.AddedData

_TYPES: Final[dict[type[msgspec.Struct], str]] = {kind: name for name, kind in wire.WIRE.items()}
_ENCODER = msgspec.json.Encoder()


class EventRecord(msgspec.Struct, frozen=True):
    """What to hand to a Kafka client for `activity.events`."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE.encode()),)


class _Envelope(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    data: WireData


def encode_event(
    data: WireData,
    *,
    id: str,  # noqa: A002 (CloudEvents' own name)
    source: str,
    activity_id: str,
    time: datetime,
) -> EventRecord:
    """The event in structured mode. `(source, id)` makes it unique: keep the id, and send the same again when
    in doubt. `time` is when it happened, with its offset.

    Raises ValueError for what livecard would dead-letter, in the words of the dead letter; TypeError where
    `data` is none of the types of `contracts.wire`.
    """
    named = _TYPES.get(type(data))
    if named is None:
        kinds = ", ".join(each.__name__ for each in _TYPES)
        raise TypeError(f"data: expected one of {kinds} from contracts.wire, got {type(data).__name__}")
    value = _ENCODER.encode(_Envelope("1.0", id, source, named, activity_id, time.isoformat(), data))
    read = decode_structured(value)
    if isinstance(read, Dead):
        raise ValueError(read.error)  # noqa: TRY004 (it is what the caller gave that is wrong)
    return EventRecord(activity_id.encode(), value)
