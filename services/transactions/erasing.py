"""What a message says without one person. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from contracts.records import Record

PEOPLE: Final = frozenset({"members", "openids"})
"""Lists of people. Where one is all that the data says, and nobody is left in it, it says nothing more."""


class _NobodyError(Exception):
    """It was about this person alone."""


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
    seen = any(each in text for each in quoted)  # perhaps under a name that comes twice in an object
    return msgspec.json.encode(left) if seen or left != said else text


def record_without(record: Record, names: Collection[str]) -> Record | None:
    """A Kafka record that names none of these; None: it is about nobody else, or cannot be read."""
    if record.value is None:
        return record
    value = without(record.value, names)
    if value is None or value is record.value:
        return None if value is None else record
    return msgspec.structs.replace(record, value=value)


def _walk(said: Any, names: frozenset[str]) -> Any:
    if isinstance(said, list):
        return [_walk(each, names) for each in said if not (isinstance(each, str) and each in names)]
    if not isinstance(said, dict):
        return None if isinstance(said, str) and said in names else said
    left = {name: _walk(each, names) for name, each in said.items()}
    empty = all(not left[name] for name in PEOPLE & left.keys())
    if left.keys() <= PEOPLE and left != said and empty:
        raise _NobodyError
    return left
