"""A Kafka record kept as it came, and the headers of a dead letter (design.md §4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from contracts.times import format_rfc3339

Header = tuple[str, bytes | None]
DeadReason = Literal["malformed", "invalid", "unknown_type", "unprocessable", "parked_too_long"]

LIVECARD_PREFIX: Final = "livecard-"
SIZE_HEADER: Final = "livecard-size"
SHA256_HEADER: Final = "livecard-sha256"
"""Of the value that a dead letter had to leave behind; only such a letter has them."""


class Record(msgspec.Struct, frozen=True):
    """The original bytes and coordinates; header names are whatever the Kafka client gave."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class _Stored(msgspec.Struct, frozen=True):
    """Header names as bytes, so that broken UTF-8 (lone surrogates in a str) survives JSON."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Stored)


def encode_record(record: Record) -> str:
    """JSON text for the store: bytes and header names in base64, headers in order, nulls kept."""
    headers = tuple((name.encode("utf-8", "surrogatepass"), value) for name, value in record.headers)
    stored = _Stored(record.topic, record.partition, record.offset, record.key, record.value, headers)
    return _ENCODER.encode(stored).decode()


def decode_record(text: str | bytes) -> Record:
    """The inverse of `encode_record`; raises ValueError for anything else."""
    stored = _DECODER.decode(text)
    headers = tuple((name.decode("utf-8", "surrogatepass"), value) for name, value in stored.headers)
    return Record(stored.topic, stored.partition, stored.offset, stored.key, stored.value, headers)


def strip_livecard_headers(headers: Iterable[Header]) -> list[Header]:
    """The producer's own headers, in order: what `replay` sends back."""
    return [header for header in headers if not header[0].startswith(LIVECARD_PREFIX)]


def is_cut(headers: Iterable[Header]) -> bool:
    """Whether a dead letter came without its value, because its topic did not take it."""
    return any(name == SHA256_HEADER for name, _ in headers)


def dead_headers(record: Record, reason: DeadReason, error: str, at_us: int) -> list[Header]:
    """The headers of a dead letter: the producer's, then ours; `at_us` is when it was dead-lettered."""
    ours = {
        "livecard-reason": reason,
        "livecard-error": error,
        "livecard-topic": record.topic,
        "livecard-partition": str(record.partition),
        "livecard-offset": str(record.offset),
        "livecard-time": format_rfc3339(at_us),
    }
    kept = strip_livecard_headers(record.headers)
    return [*kept, *((name, text.encode("utf-8", "replace")) for name, text in ours.items())]
