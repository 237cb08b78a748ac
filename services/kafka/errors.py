"""Why a connection to a broker did not come about, in words that name the setting to look at."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from services.runtime.error_text import error_text
from services.runtime.tls import refused_certificate

_OURS: Final = ("ALERT", "CERTIFICATE_REQUIRED", "CERTIFICATE_UNKNOWN")
"""Parts of the names of TLS errors that the broker sends after it has checked our certificate."""


class NoConnection(KafkaConnectionError):  # type: ignore[misc]  # aiokafka's errors have no types
    """No connection, and why; aiokafka takes it for one of its own."""

    def __str__(self) -> str:
        return str(self.args[0])


def explain(error: BaseException, protocol: str) -> str:
    """Why no connection came about, in one line for people; quotes neither user nor password.

    `protocol` is LIVECARD_KAFKA_SECURITY.
    """
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return refused_certificate(each, "the broker's", "LIVECARD_KAFKA_SSL_CAFILE")
        if isinstance(each, ssl.SSLError):
            return _handshake(each)
        if isinstance(each, SaslAuthenticationFailed):
            return (
                "the broker does not accept the user or the password (LIVECARD_KAFKA_SASL_PLAIN_USERNAME, "
                "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD)"
            )
        if isinstance(each, UnsupportedSaslMechanismError | IllegalSaslStateError):
            return (
                "the broker does not take this SASL mechanism at this port (LIVECARD_KAFKA_SECURITY, "
                "LIVECARD_KAFKA_SASL_MECHANISM)"
            )
    if not isinstance(error, OSError | KafkaError | EOFError):
        return f"it answers as no Kafka broker does ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionResetError):
        return error.strerror
    if isinstance(error, TimeoutError):
        return f"no answer in time; does this port speak {protocol} (LIVECARD_KAFKA_SECURITY)?"
    return f"the broker closed the connection; does this port speak {protocol} (LIVECARD_KAFKA_SECURITY)?"


def brief(error: BaseException) -> str:
    """What a broker's error says; aiokafka's often say no more than their own name."""
    if isinstance(error, KafkaError) and not error.args:
        if isinstance(error, KafkaTimeoutError | RequestTimedOutError):
            return "no answer in time"
        name, what = type(error).__name__, str(getattr(error, "description", "") or "")
        return f"{name}: {what.rstrip('.')}" if what else f"it failed ({name})"
    return error_text(error)


def no_topic(name: str) -> str:
    """A topic is missing, and what makes it."""
    return f"the topic {name} does not exist (`livecard init` makes it)"


def _handshake(error: ssl.SSLError) -> str:
    reason = error.reason or "unknown reason"
    if any(word in reason for word in _OURS):
        return f"the broker does not accept our certificate (LIVECARD_KAFKA_SSL_CERTFILE): {reason}"
    return f"the TLS handshake failed ({reason}); does this port speak TLS (LIVECARD_KAFKA_SECURITY)?"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
