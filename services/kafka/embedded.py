"""The embedded broker for trying out and fast tests: librdkafka's mock cluster (design.md §7)."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from services.kafka.options import BrokerError

CONNECT_DEADLINE: Final = 10.0
"""Seconds for the mock cluster to come up."""


class EmbeddedKafka:
    """A broker inside this process; its records live as long as it does.

    aiokafka reaches it over TCP. It has no CreateTopics and no group of more than one member: see
    design.md §7. Real deployments and the tests of rebalances use Apache Kafka.
    """

    def __init__(self) -> None:
        self._producer: Any = None

    def start(self, topics: Iterable[str]) -> str:
        """Start with these topics (they appear by being asked for) and return the bootstrap address.

        Raises `BrokerError` without the `confluent-kafka` wheel, which the extra `embedded` brings.
        """
        try:
            from confluent_kafka import Producer
        except ImportError as error:
            raise BrokerError(
                "the embedded broker needs confluent-kafka, which is not installed here: "
                "pip install 'confluent-kafka>=2.16' (in a checkout: make install). "
                "`livecard up` also takes a broker of yours: set LIVECARD_KAFKA"
            ) from error
        with _signals_blocked():
            self._producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
        brokers = self._producer.list_topics(timeout=CONNECT_DEADLINE).brokers
        for topic in topics:
            self._producer.list_topics(topic, timeout=CONNECT_DEADLINE)
        return ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())

    def stop(self) -> None:
        """End it; everything in it is gone."""
        self._producer = None  # the cluster lives as long as the handle that made it


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """For threads that are made meanwhile, for good: the system may give any thread a SIGTERM, and the mock
    cluster's takes an interrupted `poll` for its end and brings the whole process down."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
