"""No stored wait is believed further ahead than its own longest setting (design.md §5). Pure; all times µs.

A wait is stored as the moment at which it ends, by the database's clock. When that clock is set back (a
restored snapshot, another server) the moment lies further ahead than anybody ever wrote: the wait is over.
"""

from __future__ import annotations

from typing import Final

CLOCK_STEP: Final = 5_000_000
"""µs by which a clock may be set back and it is no matter: what NTP steps, what two servers differ by, how
long a transaction waits between its look at the clock and a lock."""


def believed(until: int, now: int, longest: int) -> int:
    """When a wait ends of which none is longer than `longest`: `now` for one that lies further ahead, and
    further than the clock may step: that takes no card from its holder and opens no gate."""
    return until if until <= now + longest + CLOCK_STEP else now
