"""What both the good and the bad records of the inbound fuzzer are made of; everything by one seed."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from contracts.events import Event
from contracts.times import DAY, SECOND
from services.kafka.ports import Message
from tests.verification.lives.wire import envelope

Ids = tuple[str, str]
"""`(source, id)`."""
Headers = list[tuple[str, bytes | None]]

PARTITIONS: Final = 8
HUGE: Final = 800_000
"""Bytes of a record that the topic just takes."""
SOURCES: Final = ("/signup", "/报名", "urn:x:1", "/a b", "//'; DROP TABLE inbox; --", "🎈" * 128)
TAILS: Final = (
    "",
    "",
    "",
    "",
    "-名",
    "-🎈🎈",
    " and a space",
    "'\"\\",
    "/../%00",
    "-é\u0301",
    "\u202e-\u2028",
)
FAR_PAST: Final = 946_684_800 * SECOND
FAR_FUTURE: Final = 4_102_444_800 * SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Planned(msgspec.Struct, frozen=True):
    """One record and what must come of it.

    `event` is what it says, or None for a bad one: then `reason` is its dead letter's, and `ids` is the
    `(source, id)` that can be read from it all the same.
    """

    kind: str
    partition: int
    message: Message
    event: Event | None = None
    reason: str = ""
    ids: Ids | None = None


class Makings:
    """Chance, fresh names, times; `begin` (µs) lies before the first arrival."""

    def __init__(self, seed: int, begin: int) -> None:
        self.chance = random.Random(f"inbound {seed}")
        self.begin = begin
        self._made = 0

    def fresh(self, prefix: str) -> str:
        """A legal id nobody else has."""
        self._made += 1
        name = f"{prefix}{self._made}{self.chance.choice(TAILS)}"
        return name + "界" * (128 - len(name)) if self._made % 997 == 0 else name

    def ids(self) -> Ids:
        """What makes an event unique."""
        return self.chance.choice(SOURCES), self.fresh("e")

    def now(self) -> int:
        """A moment before the first arrival: it has come, whenever the event comes."""
        return self.begin - self.chance.randrange(600 * SECOND)

    def skewed(self) -> int:
        """A moment by a producer's clock that may be years off."""
        far = self.chance.random()
        if far < 0.9:
            return self.now()
        if far < 0.95:
            return FAR_PAST + self.chance.randrange(9_000 * DAY)
        return FAR_FUTURE + self.chance.randrange(300 * DAY)

    def text(self, us: int) -> str:
        """A time in one of RFC 3339's many forms."""
        form = self.chance.random()
        moment = _EPOCH + timedelta(microseconds=us)
        if form < 0.7:
            return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
        minutes = self.chance.randrange(-14 * 60, 14 * 60)
        moment = moment.astimezone(timezone(timedelta(minutes=minutes)))
        text = f"{moment:%Y-%m-%dT%H:%M:%S.%f}"
        sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
        text += "9" * self.chance.randrange(9) + f"{sign}{minutes // 60:02}:{minutes % 60:02}"
        return text.lower() if form < 0.8 else text

    def envelope(self, kind: str, subject: str, ids: Ids, time: int, data: Any) -> dict[str, Any]:
        """A CloudEvent as its producer writes it."""
        return envelope(kind, subject, ids, self.text(time), data)

    def json(self, value: Any) -> bytes:
        """JSON in one of its spellings."""
        if self.chance.random() < 0.8:
            with contextlib.suppress(OverflowError):  # it writes no integers beyond 64 bits
                return msgspec.json.encode(value)
        indent = self.chance.choice([None, 1, "\t"])
        return json.dumps(value, ensure_ascii=self.chance.random() < 0.5, indent=indent).encode()

    def noise(self, least: int, most: int) -> str:
        """Characters that no compression makes much shorter."""
        return self.chance.randbytes(self.chance.randint(least, most) // 2).hex()

    def headers(self) -> Headers:
        """Headers that mean nothing to us; now and then one whose name is not UTF-8."""
        chance = self.chance
        if chance.random() < 0.7:
            return []
        names = ["trace", "x-名", "", "content-type", "livecard-reason", "livecard-offset", "n" * 300]
        found: Headers = [
            (chance.choice(names), chance.choice([None, b"", chance.randbytes(9), b"\xff" * 40]))
            for _ in range(chance.choice([1, 1, 2, 5]))
        ]
        if chance.random() < 0.04:
            broken = chance.choice([b"\xff", b"\xc3\x28", b"ce_\xfe", b"\xed\xa0\x80", b"livecard\xff"])
            found.append((broken.decode("utf-8", "surrogateescape"), chance.randbytes(3)))
        return found

    def key(self, right: str) -> bytes | None:
        """The activity's id, as it should be; or anything."""
        if self.chance.random() < 0.8:
            return right.encode()
        noise = self.chance.randbytes(self.chance.choice([20, 20, 20, 300, 5_000]))
        if self.chance.random() < 0.001:
            noise = self.chance.randbytes(200_000)
        return self.chance.choice([None, None, b"", b"\xff\xfe", b"another", noise])
