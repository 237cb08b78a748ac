"""What nudges told of traces, kept until the calls for their revisions are made."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

import msgspec

MOST_ACTIVITIES: Final = 10_000
"""The oldest go first: their cards were called by another process, or wait behind a closed gate."""
MOST_EACH: Final = 32
"""Traces of one activity; the oldest go first."""

T = TypeVar("T")


class Heard(msgspec.Struct, Generic[T], frozen=True):
    """A trace that a nudge for this revision told of, at `at` (ns since the epoch)."""

    revision: int
    context: T
    at: int


class HeardTraces(Generic[T]):
    """Traces by activity.

    A call covers the revisions after the settled one, up to that which its claim saw. So a trace counts for
    each call of a plan and for its repeats, and for none after the card is in sync.
    """

    def __init__(self, most: int = MOST_ACTIVITIES) -> None:
        self._most = most
        self._known: OrderedDict[str, deque[Heard[T]]] = OrderedDict()

    def __len__(self) -> int:
        """Activities of which a trace is known."""
        return len(self._known)

    def add(self, activity_id: str, heard: Heard[T]) -> None:
        """A nudge for the activity told of a trace."""
        self._known.setdefault(activity_id, deque(maxlen=MOST_EACH)).append(heard)
        self._known.move_to_end(activity_id)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def of(self, activity_id: str, settled: int, revision: int) -> list[Heard[T]]:
        """Those that a call for these revisions belongs to, the oldest first; older ones are forgotten."""
        known = self._known.get(activity_id)
        if known is None:
            return []
        kept = deque((each for each in known if each.revision > settled), maxlen=MOST_EACH)
        if kept:
            self._known[activity_id] = kept
        else:
            del self._known[activity_id]
        return [each for each in kept if each.revision <= revision]
