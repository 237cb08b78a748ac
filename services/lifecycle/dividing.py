"""How a batch is divided among transactions: what is too heavy for one, and what goes side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from contracts.events import Added, Completed, Event, Opened
from services.store.rows import InboxKey
from services.transactions.arrivals import Arrival

MOST_MEMBERS: Final = 20_000
"""Members named by the events of one transaction (one event may name more): each takes tens of µs, and
PostgreSQL cuts off a transaction that lets it wait for 5 s, so that a heavier one might never succeed."""
SIDE_BY_SIDE: Final = 4
"""Most transactions of one batch at once."""
WORTH_ONE: Final = 250
"""Events that are worth a transaction of their own: 3 ms for the disk are as much as some sixty."""


def bounded(arrivals: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    """The batch in order, in as few parts as `MOST_MEMBERS` allows: mostly one."""
    start = weight = 0
    for place, arrival in enumerate(arrivals):
        more = _named(arrival)
        if weight + more > MOST_MEMBERS and place > start:
            yield arrivals[start:place]
            start, weight = place, 0
        weight += more
    yield arrivals[start:]


def side_by_side(arrivals: Sequence[Arrival]) -> list[Sequence[Arrival]]:
    """Parts for transactions at the same time. The events of each activity, and of those that continue each
    other, stay together, in order. Where events of two activities share a key, of which only the first
    counts, nothing is divided."""
    width = min(SIDE_BY_SIDE, len(arrivals) // WORTH_ONE)
    if width < 2:
        return [arrivals]
    parts: list[list[Arrival]] = [[] for _ in range(width)]
    place_of: dict[InboxKey, int] = {}
    lines = _lines(arrivals)
    for arrival in arrivals:
        content = arrival.content
        name = content.activity_id if isinstance(content, Event) else ""
        place = crc32(lines.get(name, name).encode()) % width
        if place_of.setdefault(arrival.key, place) != place:
            return [arrivals]
        parts[place].append(arrival)
    return [part for part in parts if part]


def _lines(arrivals: Sequence[Arrival]) -> dict[str, str]:
    """The activities that continue another one by these events, each with the first of its line."""
    before: dict[str, str] = {}

    def first(name: str) -> str:
        while name in before:
            name = before[name]
        return name

    for arrival in arrivals:
        data = arrival.content.data if isinstance(arrival.content, Event) else None
        if isinstance(data, Opened) and data.continues is not None and isinstance(arrival.content, Event):
            later, earlier = first(arrival.content.activity_id), first(data.continues)
            if later != earlier:
                before[later] = earlier
    return {name: first(name) for name in before}


def _named(arrival: Arrival) -> int:
    """How many members an event names."""
    data = arrival.content.data if isinstance(arrival.content, Event) else None
    if isinstance(data, (Completed, Added)):
        return len(data.members) + len(data.openids)
    return len(data.participants) if isinstance(data, Opened) else 0
