"""Times as the API writes them."""

from __future__ import annotations

from functools import lru_cache

from contracts.times import MILLISECOND, SECOND, format_rfc3339


@lru_cache(maxsize=4096)
def moment(us: int) -> str:
    """RFC 3339, UTC, always with three digits: `2026-11-21T08:00:00.000Z`."""
    whole, fraction = divmod(us, SECOND)
    return f"{format_rfc3339(whole * SECOND)[:-1]}.{fraction // MILLISECOND:03d}Z"


def moment_or_none(us: int | None) -> str | None:
    """The same; null where there is none."""
    return None if us is None else moment(us)
