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
NOTHING: Final = object()
"""Stands for a field that is not there."""


class Unfit(Exception):
    """The input breaks the contract at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(capped(f"{path}: {problem}"))


def capped(text: str) -> str:
    """An error fit for a header and a log line: short, and nothing unprintable in it."""
    text = text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 1]}…"
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


def unfit(path: str, value: object, expected: str | None = None) -> Unfit:
    """What was expected at `path` (by `wire.EXPECTED`) and what came."""
    words = expected or wire.EXPECTED.get(re.sub(r"\[\d+\]", "[]", path), "something else")
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


def _members(members: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(str.isprintable, members)):
        _plain_ids("data.members", members)
    unique = dict.fromkeys(members)
    return members if len(unique) == len(members) else tuple(unique)


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
        notice=DEFAULT_NOTICE if data.notice is None else data.notice,
        close_when_complete=bool(data.close_when_complete),
    )


def _rescheduled(data: wire.RescheduledData) -> Rescheduled:
    deadline = None if data.deadline is None else _time("data.deadline", data.deadline)
    return Rescheduled(deadline=deadline, notice=data.notice)


def _closed(data: wire.ClosedData) -> Closed:
    if data.note and "\x00" in data.note:
        raise unfit("data.note", data.note)
    return Closed(note=data.note)


def _completed(data: wire.CompletedData) -> Completed:
    return Completed(_members(data.members))


def _added(data: wire.AddedData) -> Added:
    return Added(_members(data.members))


_READERS: Final[dict[str, Callable[[Any], EventData]]] = {
    OPENED: _opened,
    RESCHEDULED: _rescheduled,
    CLOSED: _closed,
    COMPLETED: _completed,
    ADDED: _added,
}
_DECODERS = {name: (msgspec.json.Decoder(wire.WIRE[name]), reader) for name, reader in _READERS.items()}


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
    except msgspec.ValidationError as error:
        raise explained(error, data) from None


_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$(.*)`)?")
_WHERE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def explained(error: msgspec.ValidationError, data: msgspec.Raw | bytes) -> Unfit:
    """msgspec's finding about `data` in a producer's words, with what stands there."""
    text = str(error)
    if missing := _MISSING.fullmatch(text):
        return unfit(f"data{missing[2] or ''}.{missing[1]}", NOTHING)
    where = _WHERE.search(text)
    path = f"data{where[1]}" if where else "data"
    try:
        return unfit(path, _found(path.removeprefix("data"), data))
    except (LookupError, ValueError, msgspec.DecodeError, RecursionError):
        return Unfit(path, _WHERE.sub("", text).replace("`", ""))


def _found(path: str, data: msgspec.Raw | bytes) -> object:
    for name, index in _STEP.findall(path):
        if name:
            data = msgspec.json.decode(data, type=dict[str, msgspec.Raw])[name]
        else:
            data = msgspec.json.decode(data, type=list[msgspec.Raw])[int(index)]
    return cast("object", msgspec.json.decode(data))
