"""The whole line loses its broker, its database, or both, and finds back by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.engines import Kafka, Postgres
from tests.e2e.line import a_line
from tests.e2e.outage import Engine, Figures, Manner, Trouble, outage

pytestmark = pytest.mark.slow
SMALL = {
    "LIVECARD_LEASE": "5",
    "LIVECARD_CALL_DEADLINE": "2",
    "LIVECARD_KAFKA_SESSION": "6",
    "LIVECARD_REPAIR_AFTER": "3",
    "LIVECARD_RELAY_LEASE": "2",
    "LIVECARD_SWEEP": "1",
    "LIVECARD_STALLED_AFTER": "16",
}
SECONDS = 20.0
"""Longer than everything above, the patience with a loop that stands still included."""


@pytest.mark.parametrize(("of", "manner"), [("kafka", "down"), ("postgres", "down"), ("both", "frozen")])
async def test_an_outage_under_load_loses_nothing(tmp_path: Path, of: Engine, manner: Manner) -> None:
    """Two of each service, events and timers go on: nobody asks to be killed, everybody tells that they
    wait, and in the end every event has counted once, every card is right, the ledger balances."""
    figures = Figures(of, manner, SECONDS)
    with Kafka() as kafka, Postgres() as postgres:
        async with a_line(kafka.bootstrap, postgres.url(), "outage.", tmp_path, **SMALL) as line:
            await outage(line, Trouble(kafka, postgres, of, manner), figures, rate=10)
    assert figures.wrong == []
    assert figures.not_alive == []
    assert figures.seen_away.keys() == {"lifecycle", "clock", "dispatcher"}
    # A line every 30 s for each thing that is tried again and again, of a dozen.
    assert max(figures.log_lines.values()) <= 12 * (1 + figures.seconds / 30)
    if of == "kafka":  # cards go on while it is away, so no call's outcome is in doubt
        assert figures.repeated_posts == 0
