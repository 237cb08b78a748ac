"""A record of `activity.events` as an event, or as a dead letter that says why; never an exception."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from contracts import wire
from contracts.events import CLOSED, Closed, Event, EventData
from contracts.reading import NOTHING, Unfit, capped, fields_ignored, known, plain, read_data, unfit
from contracts.times import parse_rfc3339

REQUIRED: Final = ("specversion", "id", "source", "type", "subject", "time")
"""CloudEvents' attributes that an event must have."""
BASE64: Final = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_IDS = ("id", "source", "subject")
_HEADERS = {f"ce_{name}": name for name in REQUIRED}
_CONTENT_TYPE = frozenset({"content-type", "Content-Type"})
_JSON_EVENT = b"application/cloudevents+json"
_LONGEST_TYPE = 80
_A_BATCH = "value: expected one event, got a batch, which CloudEvents does not define for Kafka"
_STRUCTURED: Final = "structured mode, by its content-type"
_BATCH: Final = "batch mode, by its content-type"
_BINARY: Final = "binary mode, as it has a ce_specversion header"
_PLAIN: Final = "structured mode, as it has no ce_specversion header"


class Dead(msgspec.Struct, frozen=True):
    """Why a record cannot count, in its producer's terms; the ids are those that could be read.

    `malformed`: not a CloudEvent (not JSON, an attribute missing or illegal). `unknown_type`: not one of
    ours. `invalid`: one of ours whose data breaks the schema.
    """

    reason: Literal["malformed", "invalid", "unknown_type"]
    error: str
    source: str | None = None
    id: str | None = None
    activity_id: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """What nearly every record is; anything else takes the slow road to a good explanation."""

    specversion: Literal["1.0"]
    id: wire.Id
    source: wire.Id
    type: str
    subject: wire.Id
    time: str
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


class _Loose(msgspec.Struct, frozen=True):
    """Any object at all, its attributes unread."""

    specversion: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()
    subject: msgspec.Raw = msgspec.Raw()
    time: msgspec.Raw = msgspec.Raw()
    data_base64: msgspec.Raw = msgspec.Raw()


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_LOOSE = msgspec.json.Decoder(_Loose)
_ANY = msgspec.json.Decoder()

_NOTHING_SAID = (b"", b"null")
_PACKED = re.compile(BASE64.removesuffix("$"))
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()) -> Event | Dead:
    """The event in a record (design.md §4), or the dead letter it becomes. Never raises.

    A `content-type` of `application/cloudevents…` means structured mode, else a `ce_specversion` header means
    binary mode, else it is structured mode too.
    """
    try:
        mode = _mode(headers) if headers else _PLAIN
        if mode is _BINARY:
            read = _binary(value, headers)
        else:
            read = decode_structured(value) if mode is not _BATCH else Dead("malformed", _A_BATCH)
        if isinstance(read, Event) or _speaks_for_itself(read, mode):
            return read
        return msgspec.structs.replace(read, error=_with_mode(read.error, mode, headers))
    except MemoryError:
        raise  # the machine's trouble, not the record's
    except Exception as error:  # noqa: BLE001 (whatever a record holds, it must not stop the line)
        return Dead("malformed", capped(f"value: unexpectedly unreadable ({type(error).__name__})"))


def _mode(headers: Sequence[tuple[str, bytes | None]]) -> str:
    mode, content_type = _PLAIN, None
    for name, raw in headers:
        if name in _CONTENT_TYPE:
            content_type = raw
        elif name == "ce_specversion":
            mode = _BINARY
    if content_type == _JSON_EVENT:
        return _STRUCTURED
    said = content_type.strip().lower() if content_type else b""
    if said.startswith(b"application/cloudevents"):
        return _BATCH if said.startswith(b"application/cloudevents-batch") else _STRUCTURED
    return mode


def is_binary(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether a record with these headers has its attributes there, and not in its value."""
    return bool(headers) and _mode(headers) is _BINARY


def _speaks_for_itself(dead: Dead, mode: str) -> bool:
    """Whether nobody needs the mode to understand what is wrong."""
    return dead.reason == "unknown_type" or (dead.reason == "invalid" and mode is not _BINARY)


def _with_mode(error: str, mode: str, headers: Sequence[tuple[str, bytes | None]]) -> str:
    """The error with the mode in which the record was read, and why; its content type too."""
    types = [raw for name, raw in headers if name in _CONTENT_TYPE and raw is not None]
    text = types[-1].decode("utf-8", "replace").strip() if types else ""
    said = f"content-type {text[:_LONGEST_TYPE]}" if text else "no content-type"
    return capped(error, f" (read in {mode}; {said})")


def decode_structured(value: bytes | None) -> Event | Dead:
    """The event that a value holds in structured mode; an error does not name the mode."""
    if value is None:
        return Dead("malformed", "value: expected a JSON object, got null")
    try:
        read = _ENVELOPE.decode(value)
        if not (plain(read.id) and plain(read.source) and plain(read.subject) and read.type):
            return _unreadable(value)
        time = parse_rfc3339(read.time)
    except (*_UNREADABLE, ValueError):
        return _unreadable(value)
    data: msgspec.Raw | bytes = read.data
    if read.data_base64 is not None:
        try:
            data = _unpacked(read.data, read.data_base64)
        except Unfit as problem:
            return Dead("malformed", str(problem), read.source, read.id, read.subject)
    return _event(read.source, read.id, read.type, read.subject, time=time, data=data)


def _unpacked(data: msgspec.Raw, data_base64: str) -> bytes:
    if bytes(data) not in _NOTHING_SAID:
        raise Unfit("data_base64", "expected data or data_base64, got both")
    if not data_base64 or not _PACKED.fullmatch(data_base64):
        raise Unfit("data_base64", "expected base64 of a JSON object")
    return base64.b64decode(data_base64)


def ignored(value: bytes) -> tuple[str, ...]:
    """The fields in the data of a readable event in structured mode that its type does not have."""
    read = _ENVELOPE.decode(value)
    data = read.data if read.data_base64 is None else _unpacked(read.data, read.data_base64)
    return () if bytes(data) in _NOTHING_SAID else fields_ignored(read.type, data)


def _binary(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event | Dead:
    """Attributes from `ce_*` headers, UTF-8 without percent-encoding (the CloudEvents Kafka binding §3.2.3).

    Of a repeated header the last counts, as for Kafka's own clients.
    """
    given: dict[str, Any] = {}
    for name, raw in headers:
        if attribute := _HEADERS.get(name):
            try:
                given[attribute] = None if raw is None else raw.decode()
            except UnicodeDecodeError:
                given[attribute] = raw
    if problem := _attribute_problem(given, "header ce_"):
        return _dead(problem, given)
    time = parse_rfc3339(given["time"])
    return _event(given["source"], given["id"], given["type"], given["subject"], time=time, data=value or b"")


def _event(
    source: str,
    id: str,  # noqa: A002 (CloudEvents' own name)
    type: str,  # noqa: A002 (CloudEvents' own name)
    activity_id: str,
    *,
    time: int,
    data: msgspec.Raw | bytes,
) -> Event | Dead:
    if not known(type):
        problem = unfit("type", type, f"one of {', '.join(wire.WIRE)}")
        return Dead("unknown_type", str(problem), source, id, activity_id)
    try:
        return Event(source, id, type, activity_id, time, _data(type, data))
    except Unfit as problem:
        return Dead("invalid", str(problem), source, id, activity_id)
    except _UNREADABLE as error:
        return Dead("malformed", _not_json("data", data, error), source, id, activity_id)


def _data(type: str, data: msgspec.Raw | bytes) -> EventData:  # noqa: A002 (CloudEvents' own name)
    said = bytes(data)
    if type == CLOSED and said in _NOTHING_SAID:  # all its fields are optional, and null equals absent
        return Closed()
    if not said:
        raise unfit("data", NOTHING)
    return read_data(type, data)


def _not_json(path: str, said: msgspec.Raw | bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{path}: nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"{path}: not UTF-8"
    if bytes(said[:1]) == b"\0":
        return (
            f"{path}: not JSON: it begins with a zero byte, as what serializers with a schema registry write"
        )
    found = str(error).removeprefix("JSON is malformed: ")
    if "truncated" in found:  # msgspec's word for an unpaired surrogate too
        found = "it is cut off, or an escape is half of a surrogate pair"
    return capped(f"{path}: not JSON: {found}")


def _unreadable(value: bytes) -> Dead:
    """Why the fast road refused `value`."""
    try:
        loose = _LOOSE.decode(value)
    except msgspec.ValidationError:
        return Dead("malformed", _not_an_object(value))
    except _UNREADABLE as error:
        return Dead("malformed", _not_json("value", value, error))
    given = {name: _loosely(getattr(loose, name)) for name in REQUIRED}
    problem = _attribute_problem(given, "")
    if problem is None and not isinstance(_loosely(loose.data_base64), str):
        problem = unfit("data_base64", _loosely(loose.data_base64), "a string in base64")
    return _dead(problem or Unfit("value", "expected a CloudEvent"), given)


def _not_an_object(value: bytes) -> str:
    try:
        return str(unfit("value", _ANY.decode(value), "a JSON object"))
    except _UNREADABLE:
        return "value: expected a JSON object"


def _loosely(raw: msgspec.Raw) -> object:
    if not bytes(raw):
        return NOTHING
    try:
        return _ANY.decode(raw)
    except _UNREADABLE:
        return b""  # not a string, and described as unreadable bytes


def _legal_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128 and plain(value)


def _attribute_problem(given: dict[str, Any], prefix: str) -> Unfit | None:
    """The first attribute, in CloudEvents' order, that is missing or illegal."""
    for name in REQUIRED:
        value = given.get(name, NOTHING)
        if name in _IDS:
            legal = _legal_id(value)
        elif name == "time":
            legal = isinstance(value, str) and _is_time(value)
        else:
            legal = value == "1.0" if name == "specversion" else isinstance(value, str) and value != ""
        if not legal:
            return unfit(f"{prefix}{name}", value, wire.EXPECTED[name])
    return None


def _is_time(text: str) -> bool:
    try:
        parse_rfc3339(text)
    except ValueError:
        return False
    return True


def _dead(problem: Unfit, given: dict[str, Any]) -> Dead:
    source, id_, subject = (
        given[name] if _legal_id(given.get(name)) else None for name in ("source", "id", "subject")
    )
    return Dead("malformed", str(problem), source, id_, subject)
