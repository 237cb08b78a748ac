"""What a message, or a text, says without one person. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from contracts.records import Record

PEOPLE: Final = frozenset({"members", "openids"})
"""Lists of people. Where one is all that the data says, and nobody is left in it, it says nothing more."""
ENVELOPE: Final = frozenset({"specversion", "id", "source", "type", "subject"})
"""What makes an event the one that it is: without it nobody could take it in, or know it again."""
ENVELOPE_HEADERS: Final = frozenset(f"ce_{name}" for name in ENVELOPE)
NOBODY: Final = "***"
"""What stands in a text where a person was named."""


class _NobodyError(Exception):
    """It was about this person alone."""


def unnamed(text: str, names: Collection[str]) -> str:
    """A text in which none of these stands as a word of its own."""
    words = "|".join(re.escape(name) for name in names)
    return re.sub(rf"(?<![\w-])(?:{words})(?![\w-])", NOBODY, text)


def without(text: bytes, names: Collection[str]) -> bytes | None:
    """JSON that names none of these any more: the same bytes where it never did; None where nothing is left
    to say, or where it is no JSON and names them."""
    quoted = [msgspec.json.encode(name) for name in names]
    try:
        said = msgspec.json.decode(text)
        left = _walk(said, frozenset(names))
    except _NobodyError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None if any(each[1:-1] in text for each in quoted) else text
    if isinstance(said, dict) and "specversion" in said:
        left |= {name: said[name] for name in ENVELOPE & said.keys()}
    seen = any(each in text for each in quoted)  # perhaps under a name that comes twice in an object
    again = msgspec.json.encode(left) if seen or left != said else text
    return text if again == text else again


def record_without(record: Record, names: Collection[str]) -> Record | None:
    """A Kafka record that names none of these; None: it is about nobody else, or cannot be read."""
    value = None if record.value is None else without(record.value, names)
    if value is None and record.value is not None:
        return None
    key = _bytes_without(record.key, names)
    headers = tuple(
        (name, text if name in ENVELOPE_HEADERS else _bytes_without(text, names))
        for name, text in record.headers
    )
    if (key, value, headers) == (record.key, record.value, tuple(record.headers)):
        return record
    return msgspec.structs.replace(record, key=key, value=value, headers=headers)


def _bytes_without(text: bytes | None, names: Collection[str]) -> bytes | None:
    if text is None:
        return None
    said = text.decode(errors="surrogateescape")
    return unnamed(said, names).encode(errors="surrogateescape")


def _walk(said: Any, names: frozenset[str]) -> Any:
    if isinstance(said, list):
        return [_walk(each, names) for each in said if not (isinstance(each, str) and each in names)]
    if isinstance(said, str):
        return None if said in names else unnamed(said, names)
    if not isinstance(said, dict):
        return said
    left = {name: _walk(each, names) for name, each in said.items()}
    empty = all(not left[name] for name in PEOPLE & left.keys())
    if left.keys() <= PEOPLE and left != said and empty:
        raise _NobodyError
    return left
