"""Dead letters that no topic takes whole: they came compressed, and larger than any limit of ours."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from contracts.records import LIVECARD_PREFIX
from contracts.topics import MAX_DEAD_BYTES, MAX_EVENT_BYTES
from services.kafka.ports import Headers, Message

COMPRESS_ABOVE: Final = MAX_DEAD_BYTES - 64 * 1024
"""Bytes above which a message came compressed (it passed the input's limit), so it leaves compressed."""
LONGEST_KEY: Final = 64 * 1024
"""Bytes of a key that stays even where something has to give."""
_ERROR: Final = "livecard-error"


def size(message: Message) -> int:
    """Bytes of its parts; names that were not UTF-8 count as they came."""
    return sum(map(len, _parts(message)))


def fitted(message: Message) -> Message:
    """The dead letter as its topic takes it: whole where compression makes it fit, else cut.

    Cut are the value first, then the producer's headers, then the key; `livecard-error` tells. A letter
    that can never be written would hold up everything behind it for ever.
    """
    if size(message) <= COMPRESS_ABOVE or _deflated(_parts(message)) <= COMPRESS_ABOVE:
        return message
    value = message.value or b""
    kept = value[:MAX_EVENT_BYTES]
    told = f"too large to be kept: these are the first {len(kept)} of its value's {len(value)} bytes"
    cut = msgspec.structs.replace(message, value=kept)
    if size(cut) > COMPRESS_ABOVE:
        ours = tuple(each for each in message.headers if each[0].startswith(LIVECARD_PREFIX))
        told += f"; {len(message.headers) - len(ours)} headers were left out"
        cut = msgspec.structs.replace(cut, headers=ours)
    if len(cut.key or b"") > LONGEST_KEY:
        told += f"; so was the key of {len(cut.key or b'')} bytes"
        cut = msgspec.structs.replace(cut, key=None)
    return msgspec.structs.replace(cut, headers=_told(cut.headers, told))


def _told(headers: Headers, text: str) -> Headers:
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
