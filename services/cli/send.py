"""`livecard send`: events out of a file or standard input, checked before they leave."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.errors import MessageSizeTooLargeError
from rich.console import Console

from contracts.changes import CONTENT_TYPE
from contracts.decode import Dead, decode_structured
from contracts.times import format_rfc3339
from contracts.topics import MAX_EVENT_BYTES, Topics
from services.cli.advice import advice
from services.cli.errors import CommandError
from services.kafka.batches import MAX_BATCH_BYTES
from services.kafka.bus import KafkaBus
from services.kafka.oversized import size
from services.kafka.ports import BusUnavailable, Message
from services.runtime.clock import RealClock
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from statemachine.model import Rules

SOURCE: Final = "/livecard/send"
"""The source of events that name none."""
SHOWN: Final = 20
"""Sentences of a kind that are printed."""
ROUND: Final = 5_000
"""Events handed to the broker before waiting for its acknowledgement."""


class Checked(msgspec.Struct, frozen=True):
    """An event that is right, and where it stands in the input."""

    where: str
    message: Message


async def send(settings: Settings, out: Console, err: Console, path: Path, *, check: bool) -> None:
    """Check every event, then send them in order; raises `CommandError` with every mistake in the input."""
    if not settings.kafka and not check:
        raise CommandError(
            "LIVECARD_KAFKA is not set, so there is no broker to send to: "
            "`livecard up` prints the address of its embedded one"
        )
    events: list[Checked] = []
    mistakes, odd, filled = [], [], 0
    now, rules = RealClock().wall(), Rules(margin=settings.us("expiry_margin"))
    for where, event in _events(_text(path)):
        filled += _fill(event)
        value = msgspec.json.encode(event)
        read = decode_structured(value)
        if isinstance(read, Dead):
            mistakes.append(f"{where}: {read.reason}: {read.error}")
        else:
            headers = (("content-type", CONTENT_TYPE.encode()),)
            events.append(Checked(where, Message(read.activity_id.encode(), value, headers)))
            odd += [f"{where}: {sentence}" for sentence in advice(read, value, now, rules)]
    if mistakes:
        wrong = ["nothing was sent; these events are wrong:", *_first(mistakes), *_first(odd)]
        raise CommandError("\n".join(wrong))
    for line in _first(odd):
        err.print(f"livecard: {line}", markup=False, soft_wrap=True)
    if filled:
        err.print(
            f"livecard: {filled} of {len(events)} events lacked an id, time or source: filled in",
            markup=False,
        )
    if check:
        oddities = f", {len(odd)} things to look at" if odd else ""
        out.print(f"{len(events)} events are right{oddities}; nothing was sent")
        return
    topic, sent = Topics(settings.topic_prefix).events, 0
    bus = KafkaBus(settings, metrics=Metrics())
    try:
        await bus.start()
        for page in _pages(events):
            try:
                await bus.publish(topic, [each.message for each in page])
            except BusUnavailable as error:
                before = f"{sent} of {len(events)} events were sent before"
                raise CommandError(f"{_refused(error, page, topic)}; {before}") from error
            sent += len(page)
            if len(page) >= ROUND:
                err.print(f"{sent} of {len(events)} sent", markup=False)
    finally:
        await bus.stop()
    out.print(f"{sent} events sent to {topic}")


def _first(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _pages(events: Sequence[Checked]) -> Iterator[list[Checked]]:
    """In order; a large one is a page of its own, so that who is refused for its size has a name."""
    page: list[Checked] = []
    for each in events:
        large = size(each.message) > MAX_BATCH_BYTES
        if page and (large or len(page) == ROUND):
            yield page
            page = []
        page.append(each)
        if large:
            yield page
            page = []
    if page:
        yield page


def _refused(error: BusUnavailable, page: Sequence[Checked], topic: str) -> str:
    if not isinstance(error.__cause__, MessageSizeTooLargeError):
        return str(error)
    largest = max(page, key=lambda each: size(each.message))
    among = f", the largest up to {page[-1].where}," if len(page) > 1 else ""
    return (
        f"{largest.where}{among} is too large for {topic}: {size(largest.message)} bytes; the limit is the "
        f"topic's max.message.bytes ({MAX_EVENT_BYTES} as `livecard init` makes it)"
    )


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return data.decode("utf-8-sig")  # editors on Windows begin with a mark
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
