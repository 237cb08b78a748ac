"""Events that the API makes, on their way to `activity.events`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts import wire
from services.gateway.keys import Caller
from services.runtime.ports import Chance

FIELDS: Final = {kind: msgspec.structs.fields(each) for kind, each in wire.WIRE.items()}
"""Of each type's data. They are slow to find."""
SOURCE: Final = "/livecard/api/"


def new_event_key(chance: Chance, caller: Caller) -> tuple[str, str]:
    """Source and id of an event of this caller's, unique among all."""
    return f"{SOURCE}{caller.name}", f"{chance.getrandbits(128):032x}"


def normal(kind: str, body: bytes) -> Any:
    """The data as producers write it, without what its type does not know: of bounded length, so that the
    broker takes it. It was read before (`services.gateway.bodies.read_event`)."""
    read = msgspec.json.decode(body, type=wire.WIRE[kind])
    return {
        each.encode_name: value
        for each in FIELDS[kind]
        if (value := getattr(read, each.name)) is not None or each.required
    }
