"""The database fails over under load, and everything goes on with the new primary."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.failover import drill
from tests.e2e.outage import Figures

pytestmark = pytest.mark.slow
SMALL = {
    "LIVECARD_LEASE": "5",
    "LIVECARD_CALL_DEADLINE": "2",
    "LIVECARD_KAFKA_SESSION": "6",
    "LIVECARD_REPAIR_AFTER": "3",
    "LIVECARD_RELAY_LEASE": "2",
    "LIVECARD_SWEEP": "1",
}


async def test_a_failover_under_load_loses_nothing(
    kafka: str, topic_prefix: str, postgres_url: str, tmp_path: Path
) -> None:
    """Primary killed, standby promoted, old primary back as a standby: nobody asks to be killed, everybody
    says that they wait, every event has counted once, every card is right, the ledger balances."""
    figures = Figures("postgres", "failover", 4.0)
    await drill(kafka, topic_prefix, tmp_path, figures, SMALL, rate=20)
    print(f"ready {figures.last_ready} s after the promotion; {figures}")
    assert figures.wrong == []
    assert figures.not_alive == []
    assert figures.seen_away.keys() == {"lifecycle", "clock", "dispatcher"}
