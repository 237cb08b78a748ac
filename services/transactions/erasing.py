"""What a message, or a text, says without one person. Pure."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from contracts.events import ADDED, COMPLETED, OPENED
from contracts.records import Record

PEOPLE: Final = frozenset({"members", "openids"})
"""Lists of people. Where nobody is left in them, and they are all that the data says, it says nothing."""
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


def without(text: bytes, names: Collection[str], kind: str = "") -> bytes | None:
    """JSON that names none of these any more: the same bytes where it never did; None where nothing is left
    to say, or where it is no JSON and names them. `kind`: the event's type, where it is the data alone."""
    quoted = [msgspec.json.encode(name) for name in names]
    try:
        said = msgspec.json.decode(text)
        left = _message_without(said, frozenset(names), kind)
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
    kind = next((text or b"" for name, text in reversed(record.headers) if name == "ce_type"), b"")
    value = None if record.value is None else without(record.value, names, kind.decode(errors="replace"))
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


def _message_without(said: Any, names: frozenset[str], kind: str) -> Any:
    """An event or a change; or the data of one, which is all that a message in binary mode holds."""
    left = _walk(said, names)
    if not isinstance(said, dict):
        return left
    if "specversion" in said and isinstance(said.get("data_base64"), str):
        with contextlib.suppress(binascii.Error):
            left["data_base64"] = _packed_without(said["data_base64"], names, said.get("type"))
    if isinstance(said.get("data"), dict):
        left["data"] = _meant(said.get("type", kind), said["data"], left["data"])
        return left
    return _meant(kind, said, left)


def _packed_without(packed: str, names: frozenset[str], kind: Any) -> str:
    """The data of an event in base64."""
    left = without(data := base64.b64decode(packed.encode(), validate=True), names, kind)
    if left is None:
        raise _NobodyError
    return packed if left is data else base64.b64encode(left).decode()


def _meant(kind: Any, said: dict[str, Any], left: dict[str, Any]) -> dict[str, Any]:
    """What is left of the data, so that it says of the others what it said. An `opened` that named this
    person alone must not seem to leave its participants to the card that it continues."""
    emptied = {name for name in PEOPLE & said.keys() if said[name] and not left[name]}
    if emptied and any(left[name] for name in PEOPLE & left.keys()):
        return {name: each for name, each in left.items() if name not in emptied}
    if emptied and (kind in (COMPLETED, ADDED) or left.keys() <= PEOPLE):
        raise _NobodyError
    nobody_listed = said.get("participants") and not left["participants"]
    if kind == OPENED and nobody_listed and left.get("continues") and left.get("choose") != "everyone":
        raise _NobodyError
    return left


def _walk(said: Any, names: frozenset[str]) -> Any:
    if isinstance(said, list):
        return [_walk(each, names) for each in said if not (isinstance(each, str) and each in names)]
    if isinstance(said, str):
        return None if said in names else unnamed(said, names)
    if isinstance(said, dict):
        return {name: _walk(each, names) for name, each in said.items()}
    return said
