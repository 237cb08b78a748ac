"""A short chaos run: the whole line under fire on three brokers and PostgreSQL, and nothing lost or wrong."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from scripts.engines import Postgres
from scripts.engines.kafka import missing as kafka_missing
from scripts.engines.postgres import missing as postgres_missing
from tests.engines.support import REQUIRED
from tests.verification.chaos.plan import plan
from tests.verification.chaos.run import chaos
from tests.verification.chaos.stage import ProxiedKafka
from tests.verification.chaos.verdict import judge, report

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.postgres]
SEED, SECONDS, ACTIVITIES = 373, 35.0, 200
TOO_LONG = ("use up the minute",)
"""Not in a short run: livecard waits for the next minute."""


@pytest.fixture
def engines() -> Iterator[tuple[ProxiedKafka, Postgres]]:
    """Engines of this test's own: it kills them."""
    for title, reason in (("Apache Kafka", kafka_missing()), ("PostgreSQL", postgres_missing())):
        if reason and REQUIRED:
            pytest.fail(f"{title} is required by LIVECARD_REQUIRE_ENGINES: {reason}", pytrace=False)
        elif reason:
            pytest.skip(f"{title.upper()} IS MISSING: {reason}")
    with ProxiedKafka() as kafka, Postgres(durable=True) as postgres:
        yield kafka, postgres


async def test_nothing_is_lost_and_no_card_is_wrong_whatever_is_killed(
    engines: tuple[ProxiedKafka, Postgres], caplog: pytest.LogCaptureFixture
) -> None:
    """Services, brokers and PostgreSQL killed, dispatchers frozen, connections cut, WeChat lying, at once."""
    caplog.set_level(logging.CRITICAL, "aiokafka")  # our own clients see the brokers die, too
    acts = [act for act in plan(SEED, SECONDS) if act.what not in TOO_LONG]
    outcome = await chaos(*engines, SEED, SECONDS, ACTIVITIES, acts=acts)
    verdict = judge(outcome.record)
    told = "\n".join(report(outcome, verdict))
    print(told)
    assert not verdict.wrong, told
    assert outcome.done == Counter(act.what for act in acts), told
    assert {"kill a service", "kill every gateway", "kill a broker", "crash PostgreSQL", "freeze"} <= {
        *outcome.done
    }
    assert outcome.kills >= 8
