"""Dead letters that their topic does not take whole: too large for any limit of ours, or the topic's own."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Final

import msgspec
import structlog

from contracts.records import LIVECARD_PREFIX, SHA256_HEADER, SIZE_HEADER, is_cut
from contracts.topics import MAX_DEAD_BYTES
from services.kafka.ports import Bus, Headers, Message, TooLarge
from services.runtime.ports import SELDOM

LOG = structlog.get_logger("livecard.bus")

COMPRESS_ABOVE: Final = MAX_DEAD_BYTES - 64 * 1024
"""Bytes above which a message came compressed (it passed the input's limit), so it leaves compressed."""
ALONE_ABOVE: Final = 256 * 1024
"""Bytes above which a letter is published alone, so that its refusal repeats no other."""
_ERROR: Final = "livecard-error"


def size(message: Message) -> int:
    """Bytes of its parts; names that were not UTF-8 count as they came."""
    total = len(message.key or b"") + len(message.value or b"")
    for name, value in message.headers:
        total += len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
        total += len(value or b"")
    return total


def fitted(message: Message) -> Message:
    """The dead letter as its topic takes it by its own limit: whole where compression makes it fit, else cut.

    A letter that can never be written would hold up everything behind it for ever.
    """
    while size(message) > COMPRESS_ABOVE and _deflated(_parts(message)) > COMPRESS_ABOVE:
        less = smaller(message)
        if less is None:
            break
        message = less
    return message


async def publish_letters(bus: Bus, topic: str, letters: Sequence[Message]) -> None:
    """Publish dead letters to a topic whose limit may be lower than `livecard init` makes it.

    Large ones go alone. What the broker finds too large is halved down to the letter that is to blame,
    which goes with less. Raises `BusUnavailable`; published again, the list at worst repeats.
    """
    for large, some in groupby(letters, lambda each: size(each) > ALONE_ABOVE):
        for each in ([one] for one in some) if large else (list(some),):
            await _publish_in_halves(bus, topic, each)


async def _publish_in_halves(bus: Bus, topic: str, letters: Sequence[Message]) -> None:
    try:
        await bus.publish(topic, letters)
    except TooLarge:
        if len(letters) > 1:
            middle = len(letters) // 2
            await _publish_in_halves(bus, topic, letters[:middle])
            await _publish_in_halves(bus, topic, letters[middle:])
            return
        less = smaller(letters[0])
        if less is None:
            raise
        LOG.warning(
            "a dead letter does not fit its topic and goes with less: raise the topic's max.message.bytes",
            topic=topic,
            wanted=MAX_DEAD_BYTES,
            every=SELDOM,
        )
        await _publish_in_halves(bus, topic, [less])


def smaller(message: Message) -> Message | None:
    """The dead letter with less: without its value, then without its producer's headers, then without its
    key; None when nothing is left to give. `livecard-error` tells (design.md §4)."""
    headers = message.headers
    if not is_cut(headers):
        value = message.value or b""
        added: Headers = (
            (SIZE_HEADER, str(len(value)).encode()),
            (SHA256_HEADER, sha256(value).hexdigest().encode()),
        )
        note = f"too large for the dead letters' topic: its value of {len(value)} bytes was left out"
        return Message(message.key, None, _with_note((*headers, *added), note))
    ours = tuple(each for each in headers if each[0].startswith(LIVECARD_PREFIX))
    if len(ours) < len(headers):
        note = f"so were {len(headers) - len(ours)} headers"
        return msgspec.structs.replace(message, headers=_with_note(ours, note))
    if message.key is not None:
        note = f"so was the key of {len(message.key)} bytes"
        return msgspec.structs.replace(message, key=None, headers=_with_note(ours, note))
    return None


def _with_note(headers: Headers, text: str) -> Headers:
    return tuple(
        (name, (value or b"") + f" ({text})".encode() if name == _ERROR else value) for name, value in headers
    )


def _parts(message: Message) -> Iterable[bytes]:
    yield message.key or b""
    yield message.value or b""
    for name, value in message.headers:
        yield name.encode("utf-8", "surrogateescape")
        yield value or b""


def _deflated(parts: Iterable[bytes]) -> int:
    squeeze = zlib.compressobj(9)
    return sum(len(squeeze.compress(part)) for part in parts) + len(squeeze.flush())
