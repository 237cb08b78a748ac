"""A password that follows its file: changed on disk, it counts from the next connection on.

aiokafka keeps the password that it is given for as long as a client lives. So each of its connections asks
here for the latest one (`services.kafka.patches.bootstrap`).
"""

from __future__ import annotations

from typing import Final

from services.runtime.secret_file import SecretText
from services.runtime.settings import Secret

SETTING: Final = "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD_FILE"


class _OfFile(Secret):
    """The password as it was when the client was made, and where it is read."""

    file: SecretText


def password(text: str, path: str) -> str:
    """What a client is given: this text, or what stands in the file. Raises `SecretFileError`."""
    if not path:
        return str(text)
    file = SecretText(path=path, setting=SETTING)
    given = _OfFile(file.value())
    given.file = file
    return given


def current(given: str | None) -> str | None:
    """What a connection is made with: as it is now."""
    return str(given.file.value()) if isinstance(given, _OfFile) else given
