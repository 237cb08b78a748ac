"""No stored wait is believed further ahead than its own longest setting (design.md §5). Pure; all times µs.

A wait is stored as the moment at which it ends, by the database's clock. When that clock is set back (a
restored snapshot, another server) the moment lies further ahead than anybody ever wrote: the wait is over.
"""

from __future__ import annotations


def believed(until: int, now: int, longest: int) -> int:
    """When a wait ends of which none is longer than `longest`: `now` for one that lies further ahead."""
    return until if until <= now + longest else now
