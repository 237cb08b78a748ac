"""What the engines' housekeeping agrees upon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

UNOPENED_AGE: Final = 3_600_000_000
"""µs after which an unopened activity with nothing parked is forgotten."""
ANNOUNCED_AGE: Final = 86_400_000_000
"""The same where its `opened` is on the way through the outbox, which may wait for the broker."""


def is_held(left: int, lease: int) -> bool:
    """Whether a lease that ends in `left` µs is one: neither over nor further ahead than a lease lasts, as
    after the database's clock was set back."""
    return 0 <= left <= lease


def few_people(rows: Iterable[tuple[str, int, int]], limit: int) -> dict[str, int]:
    """(activity_id, pending, people) → pending by activity_id: the first ones, until their people (members,
    and who waits for a binding) are `limit` together. They go with their activity, so one with more than that
    is a step of its own."""
    few: dict[str, int] = {}
    people = 0
    for activity_id, pending, count in rows:
        few[activity_id] = pending
        people += count
        if people >= limit:
            break
    return few
