"""What a broker's error tells a person."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from services.kafka.errors import brief


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KafkaTimeoutError(), "no answer in time"),
        (RequestTimedOutError(), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (
            TopicAuthorizationFailedError(),
            "TopicAuthorizationFailedError: " + TopicAuthorizationFailedError.description.rstrip("."),
        ),
        (KafkaConnectionError("no"), "KafkaConnectionError: no"),
    ],
)
def test_it_never_is_just_the_name_of_a_class(error: Exception, text: str) -> None:
    """aiokafka's errors often have no text of their own."""
    assert brief(error) == text
