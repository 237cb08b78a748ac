"""`livecard replay`: dead letters back to activity.events, once each, and only those that can live now."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Final, get_args

import msgspec
from rich.console import Console

from contracts.decode import Dead, decode
from contracts.records import DeadReason, Record, is_cut, strip_livecard_headers
from contracts.topics import Topics
from services.cli.database import check_meant, opened_store
from services.cli.errors import CommandError
from services.cli.letters import ROUND, open_letters
from services.kafka.bus import KafkaBus
from services.kafka.ports import Message
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from services.store.ports import Store
from services.store.rows import InboxKey

SENT: Final = "taken back"
STILL_DEAD: Final = "still unreadable: they would only come back"
WITHOUT_VALUE: Final = "too large to be kept whole: their producers must send them again"
ALIVE: Final = "taken in already"
OLDER: Final = "older letters of the same event"


class Letter(msgspec.Struct, frozen=True):
    """A dead letter that was chosen; `key` is None while its event cannot be read."""

    record: Record
    reason: str
    activity_id: str
    key: InboxKey | None
    cut: bool = False
    """Whether it came without its value (`livecard-sha256`): there is nothing to take back."""
    error: str = ""
    """What was wrong with it when it died, in the words for its producer."""


def _check(settings: Settings, reasons: list[str], *, send: bool) -> None:
    if not settings.kafka:
        raise CommandError("LIVECARD_KAFKA is not set, so there is no broker to read dead letters from")
    if wrong := sorted(set(reasons) - set(get_args(DeadReason))):
        raise CommandError(f"no such reason: {', '.join(wrong)}; there are {', '.join(get_args(DeadReason))}")
    if send:
        check_meant(settings)


async def replay(
    settings: Settings,
    out: Console,
    *,
    reasons: list[str],
    activities: list[str],
    send: bool,
) -> None:
    """Tell what would be taken back, or (with `send`) do it. Safe to run twice: what lives is left alone."""
    _check(settings, reasons, send=send)
    chosen = [
        letter
        async for letter in _letters(settings)
        if (not reasons or letter.reason in reasons) and (not activities or letter.activity_id in activities)
    ]
    fates: Counter[tuple[str, str]] = Counter()
    examples = {letter.reason: letter for letter in chosen}
    latest: dict[InboxKey, Letter] = {}
    for letter in chosen:
        if letter.key is None:
            fates[letter.reason, WITHOUT_VALUE if letter.cut else STILL_DEAD] += 1
        elif (before := latest.pop(letter.key, None)) is not None:
            fates[before.reason, OLDER] += 1
        if letter.key is not None:
            latest[letter.key] = letter
    async with opened_store(settings) as store:
        ready = await _dead_ones(store, latest.values(), fates)
    if send and ready:
        await _send(settings, ready)
    for (reason, fate), count in sorted(fates.items()):
        what = fate if send or fate != SENT else "would be taken back"
        out.print(f"{count:8} {reason}: {what}", markup=False)
    for reason, letter in sorted(examples.items()):
        place = f"{letter.record.topic}/{letter.record.partition}/{letter.record.offset}"
        about = f" about {letter.activity_id}" if letter.activity_id else ""
        out.print(f"the last {reason} was {place}{about}: {letter.error[:200]}", markup=False)
    if not chosen:
        out.print("no dead letter matches")
    elif not send and ready:
        out.print(f"nothing was sent; run it again with --send to take {len(ready)} back")


async def _letters(settings: Settings) -> AsyncIterator[Letter]:
    """Everything on the dead letters' topic at this moment, in order of each partition."""
    async with open_letters(settings) as letters:
        async for record in letters.read():
            yield _letter(record)


def _letter(record: object) -> Letter:
    raw = tuple(getattr(record, "headers", ()))
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in raw}
    original = Record(
        headers.get("livecard-topic", ""),
        int(headers.get("livecard-partition") or 0),
        int(headers.get("livecard-offset") or 0),
        getattr(record, "key", None),
        getattr(record, "value", None),
        tuple(strip_livecard_headers(raw)),
    )
    read = decode(original.value, original.headers)
    reason, error = headers.get("livecard-reason", ""), headers.get("livecard-error", "")
    cut = is_cut(raw)
    if isinstance(read, Dead) or cut:
        return Letter(original, reason, read.activity_id or "", None, cut, error)
    return Letter(original, reason, read.activity_id, InboxKey(read.source, read.id), cut, error)


async def _dead_ones(
    store: Store, letters: Iterable[Letter], fates: Counter[tuple[str, str]]
) -> list[Letter]:
    """Those whose event came to nothing, or is no longer remembered; the others live already."""
    waiting, ready = list(letters), []
    for start in range(0, len(waiting), ROUND):
        page = waiting[start : start + ROUND]
        outcomes = await store.outcomes([letter.key for letter in page if letter.key is not None])
        for letter in page:
            assert letter.key is not None
            alive = outcomes.get(letter.key, "dead") != "dead"
            fates[letter.reason, ALIVE if alive else SENT] += 1
            if not alive:
                ready.append(letter)
    return ready


async def _send(settings: Settings, letters: list[Letter]) -> None:
    bus = KafkaBus(settings, metrics=Metrics())
    topic = Topics(settings.topic_prefix).events
    try:
        await bus.start()
        for start in range(0, len(letters), ROUND):
            page = letters[start : start + ROUND]
            await bus.publish(topic, [Message(x.record.key, x.record.value, x.record.headers) for x in page])
    finally:
        await bus.stop()
