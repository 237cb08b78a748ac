"""From the wire's `data` to the events of `contracts.events`, and words for what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import msgspec

from contracts import wire
from contracts.events import (
    ADDED,
    CLOSED,
    COMPLETED,
    DEFAULT_NOTICE,
    OPENED,
    RESCHEDULED,
    Added,
    Closed,
    Completed,
    EventData,
    Opened,
    Rescheduled,
    Room,
)
from contracts.times import parse_rfc3339

_LONGEST_ERROR = 300
_LONGEST_QUOTE = 64
_MOST_IGNORED = 10
_OPENING = ("{", "[")
_COMPOUND = ("an object", "a JSON object", "an array")
NOTHING: Final = object()
"""Stands for a field that is not there."""


class Unfit(Exception):
    """The input breaks the contract at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(capped(f"{path}: {problem}"))
        self.path, self.problem = capped(path), capped(problem)


def capped(text: str, ending: str = "") -> str:
    """An error fit for a header and a log line: short, its ending whole, and nothing unprintable in it."""
    room = _LONGEST_ERROR - len(ending)
    text = (text if len(text) <= room else f"{text[: room - 1]}…") + ending
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def plain(text: str) -> bool:
    """Whether `text` has no control characters."""
    return text.isprintable() or not _CONTROL.search(text)


def described(value: object) -> str:
    """A value in a few words; never more than a snippet of it."""
    if value is NOTHING:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, str):
        return _described_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"int {value}" if -(10**15) < value < 10**15 else "int"
    if isinstance(value, bytes):
        return "something that is not UTF-8"
    if isinstance(value, list):
        return f"array of {len(value)}"
    return "object" if isinstance(value, dict) else type(value).__name__


def _described_text(text: str) -> str:
    if not text:
        return "an empty string"
    if found := _CONTROL.search(text):
        return f"a string with the control character U+{ord(found[0]):04X} at {found.start()}"
    return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f"a string of {len(text)} characters"


def _expected(path: str) -> str:
    return wire.EXPECTED.get(re.sub(r"\[\d+\]", "[]", path), "something else")


def unfit(path: str, value: object, expected: str | None = None) -> Unfit:
    """What was expected at `path` (by `wire.EXPECTED`) and what came."""
    words = expected or _expected(path)
    if isinstance(value, str) and value.lstrip()[:1] in _OPENING and words.startswith(_COMPOUND):
        return Unfit(
            path, f"expected {words}, got a string that holds JSON: write that without the quotes around it"
        )
    return Unfit(path, f"expected {words}, got {described(value)}")


def _time(path: str, text: str) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise unfit(path, text) from None


def _plain_ids(path: str, texts: Iterable[str]) -> None:
    for index, text in enumerate(texts):
        if not plain(text):
            raise unfit(f"{path}[{index}]", text)


def _each_once(path: str, people: tuple[str, ...] | None) -> tuple[str, ...]:
    if people is None:
        return ()
    if not all(map(str.isprintable, people)):
        _plain_ids(path, people)
    unique = dict.fromkeys(people)
    return people if len(unique) == len(people) else tuple(unique)


class _Nobody(Exception):
    """An event that is about people names none."""


def _named(data: wire.CompletedData | wire.AddedData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The members and the openids."""
    if data.members is None and data.openids is None:
        raise _Nobody
    return _each_once("data.members", data.members), _each_once("data.openids", data.openids)


def _room(data: wire.RoomData | None) -> Room | None:
    if data is None:
        return None
    if (data.opengid is None) == (data.open_single_roomid is None):
        given = "neither" if data.opengid is None else "both"
        raise Unfit("data.room", f"expected {wire.EXPECTED['data.room']}, got {given}")
    for name in ("opengid", "open_single_roomid"):
        if (room_id := getattr(data, name)) is not None and not plain(room_id):
            raise unfit(f"data.room.{name}", room_id)
    return Room(opengid=data.opengid, open_single_roomid=data.open_single_roomid)


def _opened(data: wire.OpenedData) -> Opened:
    if not plain(data.appid):
        raise unfit("data.appid", data.appid)
    if data.publisher is not None and not plain(data.publisher):
        raise unfit("data.publisher", data.publisher)
    if data.title and "\x00" in data.title:
        raise unfit("data.title", data.title)
    if data.continues is not None and not plain(data.continues):
        raise unfit("data.continues", data.continues)
    participants = data.participants or ()
    _plain_ids("data.participants", participants)
    return Opened(
        appid=data.appid,
        template=data.template,
        expires_at=_time("data.expires_at", data.expires_at),
        version=data.version or "release",
        title=data.title or "",
        publisher=data.publisher,
        room=_room(data.room),
        choose=data.choose or "listed",
        participants=tuple(dict.fromkeys(participants)),
        deadline=None if data.deadline is None else _time("data.deadline", data.deadline),
        notice=_opening_notice(data),
        close_when_complete=bool(data.close_when_complete),
        continues=data.continues,
    )


def _opening_notice(data: wire.OpenedData) -> int | None:
    if data.notice is None:
        return DEFAULT_NOTICE if data.continues is None else None
    return int(data.notice)


def _rescheduled(data: wire.RescheduledData) -> Rescheduled:
    deadline = None if data.deadline is None else _time("data.deadline", data.deadline)
    return Rescheduled(deadline=deadline, notice=None if data.notice is None else int(data.notice))


def _closed(data: wire.ClosedData) -> Closed:
    if data.note and "\x00" in data.note:
        raise unfit("data.note", data.note)
    return Closed(note=data.note)


def _completed(data: wire.CompletedData) -> Completed:
    return Completed(*_named(data))


def _added(data: wire.AddedData) -> Added:
    return Added(*_named(data))


class _StrictRoom(wire.RoomData, frozen=True, forbid_unknown_fields=True):
    pass


class _StrictOpened(wire.OpenedData, frozen=True, forbid_unknown_fields=True):
    """Nearly every opening: a field that does not exist takes the slow road, which tells it."""

    room: _StrictRoom | None = None


_READERS: Final[dict[str, Callable[[Any], EventData]]] = {
    OPENED: _opened,
    RESCHEDULED: _rescheduled,
    CLOSED: _closed,
    COMPLETED: _completed,
    ADDED: _added,
}
_KINDS: Final = {**wire.WIRE, OPENED: _StrictOpened}
_DECODERS = {name: (msgspec.json.Decoder(_KINDS[name]), reader) for name, reader in _READERS.items()}
_ANY_OPENED = msgspec.json.Decoder(wire.OpenedData)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def known(type: str) -> bool:  # noqa: A002 (CloudEvents' own name)
    """Whether an event of this type is ours to read."""
    return type in _DECODERS


def read_data(type: str, data: msgspec.Raw | bytes) -> EventData:  # noqa: A002 (CloudEvents' own name)
    """The checked data of a known type.

    Raises Unfit where it breaks the schema, msgspec.DecodeError, UnicodeDecodeError or RecursionError
    where it is not JSON.
    """
    decoder, reader = _DECODERS[type]
    try:
        return reader(decoder.decode(data))
    except _Nobody:
        expected = f"{wire.EXPECTED['data.members']}, here or in openids"
        raise _missing("data.members", fields_ignored(type, data), expected) from None
    except msgspec.ValidationError as error:
        if type == OPENED and _UNKNOWN.match(str(error)):
            return _opened_with_more(data)
        raise explained(error, type, data) from None


def _opened_with_more(data: msgspec.Raw | bytes) -> Opened:
    """An opening with fields that do not exist: they are ignored, but told."""
    try:
        read = _opened(_ANY_OPENED.decode(data))
    except msgspec.ValidationError as error:
        raise explained(error, OPENED, data) from None
    return msgspec.structs.replace(read, ignored=fields_ignored(OPENED, data))


def fields_ignored(type: str, data: msgspec.Raw | bytes) -> tuple[str, ...]:  # noqa: A002 (CloudEvents' own name)
    """The fields of an object that a known type does not have, by their path; the first ten."""
    said = _FIELDS.decode(data)
    names = [name for name in said if name not in wire.WIRE[type].__struct_fields__]
    if type == OPENED and bytes(said.get("room", b""))[:1] == b"{":
        room = _FIELDS.decode(said["room"])
        names += [f"room.{name}" for name in room if name not in wire.RoomData.__struct_fields__]
    return tuple(capped(name[:_LONGEST_QUOTE]) for name in names[:_MOST_IGNORED])


_UNKNOWN = re.compile("Object contains unknown field")
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$(.*)`)?")
_WHERE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def explained(error: msgspec.ValidationError, type_name: str, data: msgspec.Raw | bytes) -> Unfit:
    """msgspec's finding about `data` in a producer's words, with what stands there."""
    text = str(error)
    if missing := _MISSING.fullmatch(text):
        return _missing(f"data{missing[2] or ''}.{missing[1]}", fields_ignored(type_name, data))
    where = _WHERE.search(text)
    path = f"data{where[1]}" if where else "data"
    try:
        return unfit(path, _found(path.removeprefix("data"), data))
    except (LookupError, ValueError, msgspec.DecodeError, RecursionError):
        return Unfit(path, _WHERE.sub("", text).replace("`", ""))


def _missing(path: str, instead: tuple[str, ...], expected: str = "") -> Unfit:
    unknown = f", but unknown fields: {', '.join(instead)}" if instead else ""
    return Unfit(path, f"expected {expected or _expected(path)}, got nothing{unknown}")


def _found(path: str, data: msgspec.Raw | bytes) -> object:
    for name, index in _STEP.findall(path):
        if name:
            data = msgspec.json.decode(data, type=dict[str, msgspec.Raw])[name]
        else:
            data = msgspec.json.decode(data, type=list[msgspec.Raw])[int(index)]
    return cast("object", msgspec.json.decode(data))
