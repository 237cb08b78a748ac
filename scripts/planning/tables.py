"""The tables of docs/scaling.md: sizes from measured figures, and days that were simulated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from scripts.diagrams.mermaid import markdown
from scripts.planning.day import Forecast, Limits, simulate
from scripts.planning.load import HOUR, Load

CALLS: Final = 2_678.0
"""A second, of one dispatcher; COMPLETIONS: of one lifecycle. Both as docs/performance.md has them."""
COMPLETIONS: Final = 19_630.0
HEADROOM: Final = 0.5
"""The share of such a figure that is planned with: the machine does other work, too."""
PROMPT: Final = 60
"""Seconds within which every end shall be told, where quotas allow it."""
LEAST_PARTITIONS: Final = 8

BYTES: Final = {"activities": 1_200, "members": 150, "inbox": 200, "attempts": 250}
"""Of PostgreSQL's disk for a row, indexes with it, as `python -m benchmarks.aging` measures them."""
KEPT: Final = {"activities": 31, "members": 31, "inbox": 8, "attempts": 7}
"""Days for which a row stays (docs/operations.md)."""


@dataclass(frozen=True)
class Size:
    """Live activities, divided evenly among so many apps."""

    activities: int
    apps: int

    @property
    def load(self) -> Load:
        """Of one of the apps."""
        return Load(self.activities // self.apps)


SIZES: Final = (Size(1_000, 1), Size(100_000, 1), Size(10_000_000, 100))


def many(number: float) -> str:
    """A number with its thousands; from a million on in millions."""
    if number >= 1e6:
        return f"{number / 1e6:,.3g} M" if number < 1e8 else f"{number / 1e6:,.0f} M"
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def about(number: float) -> str:
    """The same with two digits that count: of what was planned, and not measured."""
    return many(float(f"{number:.2g}"))


def length(seconds: int | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def clock(second: int) -> str:
    """The time of a second of the day."""
    return f"{second // HOUR:02}:{second % HOUR // 60:02}"


def disk(size: Size, calls: float) -> float:
    """Bytes of a database in which as much is done each day."""
    load = size.load
    rows = {
        "activities": size.activities,
        "members": size.activities * load.members,
        "inbox": load.events * size.apps,
        "attempts": calls,
    }
    return sum(rows[table] * KEPT[table] * BYTES[table] for table in rows)


def sizes() -> str:
    """What each size does in a day, and what carries it."""
    return markdown(("", *(f"{many(each.activities)} live" for each in SIZES)), _columns())


def _columns() -> list[list[str]]:
    days = [simulate(each.load, Limits(calls=math.inf)) for each in SIZES]
    pairs = list(zip(SIZES, days, strict=True))
    rows = {
        "apps": [many(size.apps) for size in SIZES],
        "events a day · completions a second, at most": [
            f"{about(size.load.events * size.apps)} · {about(day.busiest_completions * size.apps)}/s"
            for size, day in pairs
        ],
        "calls a day · ends in one second, at most": [
            f"{about(day.calls * size.apps)} · {about(_ends(size))}" for size, day in pairs
        ],
        "lifecycles, of one core each": [many(_lifecycles(size, day)) for size, day in pairs],
        "dispatchers, for all ends within a minute": [many(_dispatchers(size)) for size in SIZES],
        "partitions of `activity.events`": [many(_partitions(size, day)) for size, day in pairs],
        "calls a minute that each app needs for it": [many(_ends(size) / size.apps) for size in SIZES],
        "PostgreSQL's disk": [f"{about(disk(size, day.calls * size.apps) / 1e9)} GB" for size, day in pairs],
    }
    return [[name, *cells] for name, cells in rows.items()]


def _ends(size: Size) -> float:
    return size.activities * max(share for _, share in size.load.ends)


def _lifecycles(size: Size, day: Forecast) -> int:
    return max(2, math.ceil(day.busiest_completions * size.apps / (COMPLETIONS * HEADROOM)))


def _dispatchers(size: Size) -> int:
    return max(2, math.ceil(_ends(size) / PROMPT / (CALLS * HEADROOM)))


def _partitions(size: Size, day: Forecast) -> int:
    """Twice the lifecycles, so that there is room to add some, as a power of two."""
    return max(LEAST_PARTITIONS, 1 << (2 * _lifecycles(size, day) - 1).bit_length())


DAYS: Final = (
    (1_000, 1, Limits(CALLS)),
    (10_000, 1, Limits(CALLS)),
    (100_000, 1, Limits(CALLS)),
    (100_000, 4, Limits(4 * CALLS)),
    (10_000, 1, Limits(CALLS, minute=5_000)),
    (100_000, 1, Limits(CALLS, minute=5_000)),
    (100_000, 4, Limits(4 * CALLS, minute=5_000)),
    (100_000, 1, Limits(CALLS, minute=1_000)),
    (100_000, 1, Limits(CALLS, day=1_000_000)),
    (100_000, 1, Limits(CALLS, day=500_000)),
    (100_000, 1, Limits(CALLS, day=500_000, reserve=200_000)),
    (100_000, 1, Limits(CALLS, minute=5_000, day=500_000, reserve=200_000)),
)
"""Activities of one app, dispatchers, and what limits them."""


GROUPS: Final = Load(20_000, members=50)
WINDOWS: Final = (1.0, 60.0, 300.0, 900.0)


def days() -> str:
    """When the cards of one app get late."""
    head = (
        *("activities", "dispatchers", "calls a minute", "a day", "kept for ends"),
        *("ends: 99 % · all within", "news: 99 % within", "coalesced", "the day's quota"),
        "due at midnight: ends · news",
    )
    return markdown(head, [_day(*each) for each in DAYS])


def _day(activities: int, dispatchers: int, limits: Limits) -> list[str]:
    load = Load(activities)
    day = simulate(load, limits)
    return [
        *(many(activities), str(dispatchers), _quota(limits.minute), _quota(limits.day)),
        many(limits.reserve) if limits.reserve else "-",
        f"{length(day.ends.within(0.99))} · {length(day.ends.within(1))}",
        length(day.news.within(0.99)),
        f"{day.saved / (load.completions + activities):.0%}",
        lasts(day),
        f"{many(round(day.ends.total))} · {many(round(day.news.total))}",
    ]


def lasts(day: Forecast) -> str:
    """How long the day's quota lasts, or what of it is not kept for ends."""
    return "lasts" if day.quota_ended is None else f"ends at {clock(day.quota_ended)}"


def _quota(limit: float) -> str:
    return "-" if math.isinf(limit) else many(limit)


def coalescing() -> str:
    """A day of larger groups with a longer `LIVECARD_COALESCE`."""
    head = ("`LIVECARD_COALESCE`", "calls in a day", "a quota of 500,000 a day", "due at midnight")
    rows = []
    for window in WINDOWS:
        free = simulate(GROUPS, Limits(CALLS, coalesce=window))
        day = simulate(GROUPS, Limits(CALLS, day=500_000, coalesce=window))
        rows.append([f"{window:g} s", many(free.calls), lasts(day), many(round(day.untold))])
    return markdown(head, rows)


@cache
def blocks() -> Mapping[str, str]:
    """What docs/scaling.md takes from here; made once, since it takes seconds."""
    return {"sizes": sizes(), "days": days(), "coalescing": coalescing()}
