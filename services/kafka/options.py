"""How our settings read in aiokafka's terms, and its loggers kept from flooding."""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

from services.kafka.certificates import renewable
from services.kafka.passwords import password
from services.kafka.patches import bootstrap
from services.runtime.addresses import brokers
from services.runtime.error_text import Explained
from services.runtime.secret_file import SecretFileError
from services.runtime.settings import Settings
from services.runtime.tls import Files, TlsError

REQUEST_TIMEOUT: Final = 10.0
"""Seconds after which a request without an answer counts as lost and its connection is renewed."""
METADATA_EVERY: Final = 15.0
"""Seconds between two questions for the cluster's topics: a partition that was added is read so soon."""
LOG_EVERY: Final = 30.0
"""Seconds in which aiokafka may say the same thing once: it says it twice a second while a broker is down."""


class BrokerError(Explained):
    """Kafka cannot be reached or used as configured; the text names the address or the setting."""


def addresses(settings: Settings) -> list[str]:
    """`LIVECARD_KAFKA` as aiokafka wants it: a list."""
    try:
        return brokers(settings.kafka)
    except ValueError as error:
        raise BrokerError(str(error)) from None


def kafka_options(settings: Settings) -> dict[str, Any]:
    """The keyword arguments that every aiokafka client shares; raises `BrokerError` for wrong settings."""
    limit_logs()
    bootstrap.install()
    options: dict[str, Any] = {
        "bootstrap_servers": addresses(settings),
        "client_id": "livecard",
        "request_timeout_ms": round(REQUEST_TIMEOUT * 1000),
        "metadata_max_age_ms": round(METADATA_EVERY * 1000),
        "security_protocol": settings.kafka_security,
    }
    if settings.kafka_security.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_plain_username
        options["sasl_plain_password"] = _password(settings)
    if settings.kafka_security.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    return options


def _password(settings: Settings) -> str:
    try:
        return password(settings.kafka_sasl_plain_password, settings.kafka_sasl_plain_password_file)
    except SecretFileError as error:
        raise BrokerError(str(error)) from None


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """TLS towards the brokers: hostnames and certificates are checked, ours is shown if there is one."""
    names = ("LIVECARD_KAFKA_SSL_CAFILE", "LIVECARD_KAFKA_SSL_CERTFILE", "LIVECARD_KAFKA_SSL_KEYFILE")
    files = Files(settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile, names)
    try:
        return renewable(files)
    except TlsError as error:
        raise BrokerError(str(error)) from None


class _Limit(logging.Filter):
    """Lets a message of a logger pass once in `LOG_EVERY` seconds, and tells how many it held back."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to pass; `record.created` is the time, so that no clock is needed."""
        key = (record.name, str(record.msg))
        last, held = self._last.get(key, (float("-inf"), 0))
        if record.created - last < LOG_EVERY:
            self._last[key] = (last, held + 1)
            return False
        self._last[key] = (record.created, 0)
        if held:
            record.msg = f"{record.msg} (and {held} more like it)"
        return True


_LIMIT: Final = _Limit()


def limit_logs() -> None:
    """Put the limit on every logger of aiokafka that exists: filters are not inherited."""
    import aiokafka.client
    import aiokafka.conn
    import aiokafka.consumer.fetcher
    import aiokafka.consumer.group_coordinator
    import aiokafka.producer.sender  # noqa: F401  # imported for their loggers

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("aiokafka"):
            logger = logging.getLogger(name)
            # At DEBUG it writes every request down, the one with the password included.
            logger.setLevel(max(logger.level, logging.WARNING))
            if _LIMIT not in logger.filters:
                logger.addFilter(_LIMIT)
