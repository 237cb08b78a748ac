"""Lives of activities for the inbound fuzzer: events as their producers send them, in order, with oddities
that the contract allows. No decision about them depends on the minute in which they arrive."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from contracts.events import CLOSED, OPENED, Added, Closed, Completed, Event, EventData, Opened, Rescheduled
from contracts.times import DAY, SECOND
from services.kafka.ports import Message
from tests.verification.fuzz.makings import HUGE, PARTITIONS, Headers, Makings, Planned
from tests.verification.lives.life import Range, Weights, draw_life
from tests.verification.lives.wire import MOMENTS, event

STRUCTURED: Final = (
    b"application/cloudevents+json",
    b"application/cloudevents+json; charset=UTF-8",
    b"Application/CloudEvents",
)
OTHERS: Final = ("newcomer", "stranger", "nobody", "陌生人")
"""Who is not listed, unless they are added."""
DAYS: Final = DAY / SECOND


def _day(days: float) -> Range:
    return days * DAYS, days * DAYS + 1e-3


USUAL: Final[dict[str, Any]] = {
    "apps": ("wxfuzz",),
    "templates": ("complete",),
    "opens": (0.0, 0.4),
    "ends": 1.0,
}
SCATTERED: Final = USUAL | {"listed": 0.0, "expires": lambda _: 10 * DAYS, "prompt": 0.7, "dealt": (1.0, 1.0)}
"""Of these no order matters."""
NEAR_AND_FAR: Final = tuple(map(_day, (-1, 3, 8, 8, 8, 30)))
"""Deadlines that have passed, are near or far by their notice, or lie beyond the expiry."""
ORDERED: Final = USUAL | {
    "expires": lambda chance: -chance.random() * DAYS if chance.random() < 0.03 else 10 * DAYS,
    "versions": ("release", "release", "release", "trial"),
    "listed": 0.75,
    "dated": 0.6,
    "deadlines": NEAR_AND_FAR,
    "notices": (0, 60, 3600, 604_800),
    "complete": 0.3,
    "again": 0.1,
    "another": 0.1,
    "news": range(24),
    "kinds": ((0.75, Completed), (0.85, Added), (0.97, Rescheduled)),
    "together": (1, 1, 1, 2, 3),
    "prompt": 0.8,
    "undated": 0.2,
    "moves": NEAR_AND_FAR,
    "moved_notices": (None, 0, 60, 3600, 604_800),
}


class Life:
    """One activity. All its events go to one partition; those of a `scattered` one, to any."""

    def __init__(self, makings: Makings) -> None:
        self.makings, chance = makings, makings.chance
        self.name = makings.fresh("a")
        self.scattered = chance.random() < 0.1
        self.home = chance.randrange(PARTITIONS)
        self.closing_later = chance.random() < 0.2
        happens = sorted(draw_life(chance, makings.begin, self._weights()), key=lambda each: each.at)
        opened = next(each.data for each in happens if isinstance(each.data, Opened))
        self.closes_when_complete = opened.close_when_complete
        never = not self.scattered and chance.random() < 0.1  # is it opened
        datas = [each.data for each in happens if not (never and isinstance(each.data, Opened))]
        decorated = {data: self._decorated(data) for data in datas}  # what is said twice stays the same
        self.left: Iterator[EventData] = iter([decorated[data] for data in datas])

    def _weights(self) -> Weights:
        chance = self.makings.chance
        if self.scattered:
            return Weights(whom=[f"p{number}" for number in range(chance.randint(1, 40))], **SCATTERED)
        people = [f"p{number}" for number in range(chance.randrange(13))]
        return Weights(whom=[*people, *OTHERS], people=(len(people),), **ORDERED)

    def partition(self) -> int:
        """Where the next event goes."""
        return self.makings.chance.randrange(PARTITIONS) if self.scattered else self.home

    def _decorated(self, data: EventData) -> EventData:
        """With what the contract allows, and few producers send."""
        chance = self.makings.chance
        if isinstance(data, Closed):
            return Closed(note=chance.choice([None, "", "over", "完" * 4_000]))
        if not isinstance(data, Opened):
            return data
        more: dict[str, Any] = {}
        if chance.random() < 0.002:
            guests = (f"guest{number}" for number in range(chance.randrange(6_000)))
            more["participants"] = (*data.participants, *guests)
        if chance.random() < 0.2 and not data.title:
            more |= {"title": "团建报名" * 250, "publisher": "gp-🎈"}
        if chance.random() < 0.1:
            more["ignored"] = ("particpants", "报名🎈")
        return msgspec.structs.replace(data, **more)

    def time(self, data: EventData) -> int:
        """When it happened. Where the moment of arrival ends an activity, nothing after it may depend on
        whether it arrived in the same transaction: such lives have either skewed ends or skewed news."""
        makings = self.makings
        if self.scattered:
            return makings.skewed()
        if isinstance(data, Completed):
            return makings.now() if self.closing_later or self.closes_when_complete else makings.skewed()
        if isinstance(data, Closed):
            return makings.skewed() if self.closing_later else makings.now()
        return makings.skewed()

    def wire(self, data: EventData) -> dict[str, Any]:
        """Its data as this producer writes it: repeated members count once, defaults may be left out."""
        chance, text = self.makings.chance, self.makings.text
        wire: dict[str, Any] = msgspec.to_builtins(data)
        ignored = wire.pop("ignored", ())
        if chance.random() < 0.8:
            for each in msgspec.structs.fields(data):
                if (
                    each.name in wire
                    and wire[each.name] == each.default
                    and (each.name != "deadline" or isinstance(data, Opened))
                ):
                    del wire[each.name]
        if "openids" in wire and not wire["openids"]:
            wire["openids"] = None  # an empty list names nobody, and is refused
        wire |= {name: text(wire[name]) for name in MOMENTS if wire.get(name) is not None}
        wire |= dict.fromkeys(ignored, "p1")
        if isinstance(data, Completed | Added) and chance.random() < 0.1:
            wire["members"] += tuple(chance.choices(data.members, k=2))
        return wire


def planned(life: Life, data: EventData) -> Planned:
    """The next record of a life."""
    makings = life.makings
    ids = makings.ids()
    said = event(*ids, life.name, life.time(data), data)
    return Planned("good", life.partition(), written(makings, said, life.wire(data)), said, ids=ids)


def written(makings: Makings, event: Event, wire: dict[str, Any]) -> Message:
    """An event as a record, in one of the ways that the contract allows."""
    chance = makings.chance
    key, headers = makings.key(event.activity_id), makings.headers()
    way = chance.random()
    if way < 0.15:
        return _binary(makings, event, wire, key, headers)
    envelope = makings.envelope(event.type, event.activity_id, (event.source, event.id), event.time, wire)
    if way < 0.2:
        said = base64.b64encode(makings.json(envelope.pop("data"))).decode()
        envelope |= {"data_base64": said, "data": None}
    elif way < 0.23:  # the content type decides, whatever attributes stand beside it
        stray = [("ce_specversion", b"1.0"), ("ce_id", b"another"), ("ce_type", chance.choice([b"x", None]))]
        headers += stray
        chance.shuffle(headers)
        headers.append(("content-type", chance.choice(STRUCTURED)))  # the last counts
    elif way < 0.3:
        odd = [1e300, [[[]]], {"id": "another"}, "\u0000", 10**40, None, makings.noise(0, 500)]
        envelope |= {"traceparent": chance.choice(odd), "datacontenttype": 7}
        envelope = dict(sorted(envelope.items(), key=lambda _: chance.random()))
        if event.type != OPENED:  # its opening change would tell
            wire["unknown"] = chance.choice(odd)
    elif way < 0.31:
        deep = chance.randint(10, 200)
        value = b'{"x":' + b'[{"y":' * deep + b"1" + b"}]" * deep + b"," + msgspec.json.encode(envelope)[1:]
        return Message(key, value, tuple(headers))
    elif way < 0.3105:
        envelope["padding"] = makings.noise(50_000, HUGE)
    return Message(key, makings.json(envelope), tuple(headers))


def _binary(
    makings: Makings,
    event: Event,
    wire: dict[str, Any],
    key: bytes | None,
    headers: Headers,
) -> Message:
    """Attributes in headers, in any order; of a repeated one the last counts."""
    chance = makings.chance
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_source": event.source,
        "ce_type": event.type,
        "ce_subject": event.activity_id,
        "ce_time": makings.text(event.time),
    }
    headers += [(name, value.encode()) for name, value in attributes.items()]
    chance.shuffle(headers)
    if chance.random() < 0.1:
        headers[:0] = [(chance.choice([*attributes]), chance.choice([None, b"\xff", b"before"]))]
    value: bytes | None = makings.json(wire)
    if event.type == CLOSED and not wire:
        value = chance.choice([None, b"", b"null", b"{}"])
    return Message(key, value, tuple(headers))
