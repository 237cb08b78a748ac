"""The nudge between our own services: look at this activity now; losing one costs latency only."""

from __future__ import annotations

import msgspec


class Nudge(msgspec.Struct, frozen=True):
    activity_id: str
    revision: int


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Nudge)


def encode_nudge(nudge: Nudge) -> bytes:
    """The value of a record of `card.nudges`; its key is the `activity_id`."""
    return _ENCODER.encode(nudge)


def decode_nudge(value: bytes | None) -> Nudge | None:
    """None for whatever is not a nudge: the dispatcher's poll finds its card anyway."""
    if value is None:
        return None
    try:
        return _DECODER.decode(value)
    except (ValueError, RecursionError):
        return None
