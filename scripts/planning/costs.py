"""What a million cards cost: the table of docs/operations.md, from the figures of docs/performance.md."""

from __future__ import annotations

import math
from typing import Final

from scripts.diagrams.languages import Say
from scripts.diagrams.mermaid import markdown
from scripts.planning.day import Limits, simulate
from scripts.planning.load import Load
from scripts.planning.tables import BYTES, COMPLETIONS, KEPT, about

CARDS: Final = Load(1_000_000)
FIRST: Final = 13_000.0
"""Events a second of one lifecycle where most are the first of their activity."""
TIMERS: Final = 10_000 / 0.84
"""A second, of one clock."""
CALL: Final = 256e-6
"""Seconds of a dispatcher's CPU for a call; SQL: of PostgreSQL, least and most of three sizes."""
SQL: Final = (0.20e-3, 0.27e-3)
RECORD: Final = 400
"""Bytes of a record of Kafka's, before it is compressed or replicated; RETAINED: days that it stays."""
RETAINED: Final = 7


def costs(say: Say) -> str:
    """A row a stage, and one for each table and topic that grows."""
    calls = simulate(CARDS, Limits(calls=math.inf)).calls
    timers = 2 * CARDS.activities
    # Each is opened, near and ended; each completion and each call is told.
    changes = 3 * CARDS.activities + CARDS.completions + calls
    core = say("s of one core")
    rows = [
        ("lifecycle", CARDS.events, "events", f"{_span(CARDS.events, 1 / COMPLETIONS, 1 / FIRST)} {core}"),
        ("clock", timers, "timers", f"{about(timers / TIMERS)} {core}"),
        ("dispatcher", calls, "calls", f"{about(calls * CALL)} {core}"),
        ("PostgreSQL", calls, "calls", f"{_span(calls, *SQL)} {say('s of SQL')}"),
        _table("activities", CARDS.activities, say),
        _table("members", CARDS.activities * CARDS.members, say),
        _table("inbox", CARDS.events, say),
        _table("attempts", calls, say),
        ("Kafka: `activity.events`", CARDS.events, "records", _disk(CARDS.events * RECORD, RETAINED, say)),
        ("Kafka: `activity.changes`", changes, "records", _disk(changes * RECORD, RETAINED, say)),
    ]
    cells = [[name, f"{about(count)} {say(unit)}", takes] for name, count, unit, takes in rows]
    return markdown((say("where"), say("how much"), say("what it takes")), cells)


def _table(name: str, rows: float, say: Say) -> tuple[str, float, str, str]:
    return f"PostgreSQL: `{name}`", rows, "rows", _disk(rows * BYTES[name], KEPT[name], say)


def _span(count: float, least: float, most: float) -> str:
    return f"{about(count * least)}–{about(count * most)}"


def _disk(size: float, days: int, say: Say) -> str:
    return f"{size / 1e9:.1f} GB · {days} {say('days')}"
