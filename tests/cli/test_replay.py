"""`livecard replay` where there is nothing to read; on a running system tests/e2e/test_tools.py plays it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.kafka.embedded import EmbeddedKafka
from tests.cli.running import livecard


@pytest.fixture
def broker() -> Iterator[str]:
    """The address of a broker without any topic."""
    embedded = EmbeddedKafka()
    yield embedded.start([])
    embedded.stop()


def test_without_the_topic_of_the_dead_letters_it_says_who_makes_it(broker: str) -> None:
    """Before `init`, or with a prefix that nobody uses."""
    code, printed = livecard("replay", LIVECARD_KAFKA=broker, LIVECARD_TOPIC_PREFIX="typo.")
    assert code == 1
    assert "the topic typo.activity.events.dead does not exist" in printed
    assert "`livecard init` makes it" in printed
    assert "LIVECARD_TOPIC_PREFIX" in printed
    assert "Traceback" not in printed
