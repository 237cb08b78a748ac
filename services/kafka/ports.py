"""What a service may ask of the bus; the simulation hands in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from services.runtime.error_text import Explained

Headers = tuple[tuple[str, bytes | None], ...]
NO_HEADERS: Final[Mapping[str, Headers]] = MappingProxyType({})


class BusUnavailable(Explained):
    """The broker did not acknowledge: nothing is known to have arrived. Wait and try again."""


class TooLarge(BusUnavailable):
    """The broker found a message larger than its topic allows: trying again is of no use."""


class Message(msgspec.Struct, frozen=True):
    """One record to produce; `key` decides the partition."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Bus(Protocol):
    """A producer."""

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Return when the broker has acknowledged all (acks=all), in order per key.

        Raises `BusUnavailable` when any was not: then a later message of a key was never accepted
        ahead of an earlier one, and publishing the whole list again at worst repeats.
        """
        ...

    def nudge(
        self, topic: str, revisions: Mapping[str, int], headers: Mapping[str, Headers] = NO_HEADERS
    ) -> None:
        """Tell the dispatchers to look at these activities (activity_id → revision). Best effort: what
        cannot be taken at once is dropped and counted. `headers`: those of some nudges, by activity_id."""
        ...
