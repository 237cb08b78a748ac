"""`livecard send`: events out of a file or standard input, checked before they leave."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from contracts.changes import CONTENT_TYPE
from contracts.decode import Dead, decode
from contracts.times import format_rfc3339
from contracts.topics import Topics
from services.bus.kafka import KafkaBus
from services.bus.ports import Message
from services.command.errors import CommandError
from services.runtime.real import RealClock
from services.settings import Settings
from services.telemetry import Metrics

SOURCE: Final = "/livecard/send"
"""The source of events that name none."""
ROUND: Final = 5_000
"""Events handed to the broker before waiting for its acknowledgement."""


async def send(settings: Settings, out: Console, err: Console, path: Path, *, check: bool) -> None:
    """Check every event, then send them in order; raises `CommandError` with every mistake in the input."""
    if not settings.kafka and not check:
        raise CommandError(
            "LIVECARD_KAFKA is not set, so there is no broker to send to: "
            "`livecard up` prints the address of its embedded one"
        )
    messages, mistakes, filled = [], [], 0
    for where, event in _events(_text(path)):
        filled += _fill(event)
        value = msgspec.json.encode(event)
        read = decode(value, ())
        if isinstance(read, Dead):
            mistakes.append(f"{where}: {read.reason}: {read.error}")
        else:
            headers = (("content-type", CONTENT_TYPE.encode()),)
            messages.append(Message(read.activity_id.encode(), value, headers))
    if mistakes:
        more = [f"… and {len(mistakes) - 20} more"] if len(mistakes) > 20 else []
        raise CommandError("\n".join(["nothing was sent; these events are wrong:", *mistakes[:20], *more]))
    if filled:
        err.print(
            f"livecard: {filled} of {len(messages)} events lacked an id, time or source: filled in",
            markup=False,
        )
    if check:
        out.print(f"{len(messages)} events are right; nothing was sent")
        return
    topic = Topics(settings.topic_prefix).events
    bus = KafkaBus(settings, metrics=Metrics())
    try:
        await bus.start()
        for start in range(0, len(messages), ROUND):
            await bus.publish(topic, messages[start : start + ROUND])
            if len(messages) > ROUND:
                err.print(f"{min(start + ROUND, len(messages))} of {len(messages)} sent", markup=False)
    finally:
        await bus.stop()
    out.print(f"{len(messages)} events sent to {topic}")


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text") from None


def _events(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events with where they stand: a whole JSON document (one, or an array), else one a line."""
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        whole = None
    if whole is not None:
        many = whole if isinstance(whole, list) else [whole]
        rows = [(f"event {place}", each) for place, each in enumerate(many, 1)]
    else:
        rows = [
            (f"line {place}", _line(place, line))
            for place, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    if not rows:
        raise CommandError("there is no event in the input: give JSON objects, one a line or in an array")
    for where, event in rows:
        if not isinstance(event, dict):
            raise CommandError(f"{where}: an event is a JSON object, not {type(event).__name__}")
        yield where, event


def _line(place: int, line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CommandError(f"line {place} is not JSON: {error}") from None


def _fill(event: dict[str, Any]) -> bool:
    """Fill in what a person leaves out; whether anything was."""
    event.setdefault("specversion", "1.0")
    missing = [name for name in ("id", "source", "time") if event.get(name) is None]
    defaults = {
        "id": f"{random.getrandbits(64):016x}",
        "source": SOURCE,
        "time": format_rfc3339(RealClock().wall()),
    }
    event.update({name: defaults[name] for name in missing})
    return bool(missing)
