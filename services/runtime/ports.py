"""What every service is handed instead of reaching for it: time, chance and new ids.

Production hands in the real ones (`services.runtime.clock`), the simulation seeded ones; nothing
below a composition root reads a clock, draws a number or makes an id by itself.
"""

from __future__ import annotations

from typing import Final, Protocol

SELDOM: Final = 30.0
"""Seconds in which a line about something that is tried again and again is logged once (`every=`)."""


class Clock(Protocol):
    """The process's own time. The protocol's "now" is never this one: it is the database's."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything (leases, durations)."""
        ...

    def wall(self) -> int:
        """Microseconds since the Unix epoch, UTC; for people and headers, never for decisions."""
        ...


class Chance(Protocol):
    """Randomness: jitter and ids. `random.Random` is one."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def getrandbits(self, bits: int, /) -> int:
        """A non-negative int below 2**bits."""
        ...


class Kick(Protocol):
    """Wakes the outbox relay of this process."""

    def kick(self) -> None:
        """A commit left changes in the outbox: look now rather than at the next poll."""
        ...


def new_name(chance: Chance, kind: str) -> str:
    """A name for one run of one process (`dispatcher-5f1c…`): what leases and logs call it."""
    return f"{kind}-{chance.getrandbits(48):012x}"
