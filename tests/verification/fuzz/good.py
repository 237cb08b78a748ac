"""Lives of activities for the inbound fuzzer: events as their producers send them, in order, with oddities
that the contract allows. No decision about them depends on the minute in which they arrive."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from contracts.events import (
    ADDED,
    CLOSED,
    COMPLETED,
    OPENED,
    RESCHEDULED,
    Added,
    Closed,
    Completed,
    Event,
    EventData,
    Opened,
    Rescheduled,
)
from contracts.times import DAY
from services.kafka.ports import Message
from tests.verification.fuzz.makings import HUGE, PARTITIONS, Headers, Makings, Planned

NOTICE: Final = (0, 60, 3600, 604_800)
STRUCTURED: Final = (
    b"application/cloudevents+json",
    b"application/cloudevents+json; charset=UTF-8",
    b"Application/CloudEvents",
)
STRANGERS: Final = ("stranger", "nobody", "陌生人")


class Draft(msgspec.Struct, frozen=True):
    """What an event says, on the wire and as it is to be understood."""

    type: str
    wire: dict[str, Any]
    data: EventData


class Life:
    """One activity. All its events go to one partition; those of a `scattered` one, of which no order
    matters, to any."""

    def __init__(self, makings: Makings) -> None:
        self.makings, chance = makings, makings.chance
        self.name = makings.fresh("a")
        self.scattered = chance.random() < 0.1
        self.home = chance.randrange(PARTITIONS)
        self.closing_later = chance.random() < 0.2
        self.closes_when_complete = False
        drafts = self._scattered() if self.scattered else self._drafts()
        self.left: Iterator[Draft] = iter(drafts)

    def partition(self) -> int:
        """Where the next event goes."""
        return self.makings.chance.randrange(PARTITIONS) if self.scattered else self.home

    def _scattered(self) -> list[Draft]:
        chance = self.makings.chance
        people = [f"p{number}" for number in range(chance.randint(1, 40))]
        drafts = [self._named(Completed, [name]) for name in people]
        drafts.insert(chance.randrange(len(drafts) + 1), self._opened({"choose": "everyone"}))
        return drafts

    def _drafts(self) -> list[Draft]:
        chance = self.makings.chance
        people = [f"p{number}" for number in range(chance.randrange(13))]
        facts = self._facts(people)
        self.closes_when_complete = bool(facts.get("close_when_complete"))
        crowd = [*people, *STRANGERS]
        drafts = [self._news(crowd) for _ in range(chance.randrange(24))]
        if chance.random() < 0.9:
            drafts.insert(
                0 if chance.random() < 0.6 else chance.randrange(len(drafts) + 1), self._opened(facts)
            )
            if chance.random() < 0.2:
                again = facts if chance.random() < 0.5 else {**facts, "title": "another"}
                drafts.insert(chance.randrange(len(drafts) + 1), self._opened(again))
        return drafts

    def _facts(self, people: list[str]) -> dict[str, Any]:
        """An opening's data; times as µs."""
        chance, begin = self.makings.chance, self.makings.begin
        facts: dict[str, Any] = {"participants": people}
        if chance.random() < 0.03:
            facts["expires_at"] = begin - chance.randrange(1, DAY)
        if chance.random() < 0.6:
            facts |= self._end()
        if chance.random() < 0.25:
            facts["choose"] = "everyone"
        elif chance.random() < 0.3:
            facts["close_when_complete"] = True
        if chance.random() < 0.002:
            facts["participants"] = people + [f"guest{number}" for number in range(chance.randrange(6_000))]
        if chance.random() < 0.2:
            facts |= {"title": "团建报名" * 250, "publisher": "gp-🎈", "version": "trial"}
        return facts

    def _end(self) -> dict[str, Any]:
        """A deadline that has passed, is near, is far, or lies beyond the expiry."""
        chance, begin = self.makings.chance, self.makings.begin
        days, notice = chance.choice([(-1, 3600), (3, 604_800), (8, 3600), (8, 3600), (8, 0), (30, 60)])
        return {"deadline": begin + days * DAY + chance.randrange(1000), "notice": notice}

    def _opened(self, facts: dict[str, Any]) -> Draft:
        begin, text = self.makings.begin, self.makings.text
        facts = {"appid": "wxfuzz", "template": "complete", "expires_at": begin + 10 * DAY, **facts}
        wire = {**facts, "expires_at": text(facts["expires_at"])}
        if "deadline" in facts:
            wire["deadline"] = text(facts["deadline"])
        elif self.makings.chance.random() < 0.1:
            wire |= {"deadline": None, "room": None, "notice": None, "publisher": facts.get("publisher")}
        participants = tuple(dict.fromkeys(facts.get("participants", ())))
        ignored = ("particpants", "报名\ufffd") if self.makings.chance.random() < 0.1 else ()
        wire |= {"particpants": ["p1"], "报名\x00": None} if ignored else {}
        return Draft(OPENED, wire, Opened(**{**facts, "participants": participants, "ignored": ignored}))

    def _news(self, crowd: list[str]) -> Draft:
        chance, kind = self.makings.chance, self.makings.chance.random()
        if kind < 0.75:
            return self._named(Completed, chance.choices(crowd, k=chance.choice([1, 1, 1, 2, 3])))
        if kind < 0.85:
            return self._named(Added, chance.choices([*crowd, "newcomer"], k=2))
        if kind < 0.97:
            facts = self._end() if chance.random() < 0.8 else {"deadline": None, "notice": None}
            if chance.random() < 0.3:
                del facts["notice"]
            # A deadline whose notice is kept from before may be near or far: both sides know it by then.
            deadline = facts["deadline"]
            wire = {**facts, "deadline": None if deadline is None else self.makings.text(deadline)}
            return Draft(RESCHEDULED, wire, Rescheduled(**facts))
        note = chance.choice([None, "", "over", "完" * 4_000])
        return Draft(CLOSED, {} if note is None else {"note": note}, Closed(note=note))

    def _named(self, kind: type[Completed | Added], members: list[str]) -> Draft:
        """Repeated members count once."""
        data = kind(tuple(dict.fromkeys(members)))
        return Draft(COMPLETED if kind is Completed else ADDED, {"members": members}, data)

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


def planned(life: Life, draft: Draft) -> Planned:
    """The next record of a life."""
    makings = life.makings
    ids, time = makings.ids(), life.time(draft.data)
    event = Event(ids[0], ids[1], draft.type, life.name, time, draft.data)
    return Planned("good", life.partition(), written(makings, event, draft.wire), event, ids=ids)


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
        headers.append(
            ("content-type", chance.choice(STRUCTURED))
        )  # of those that are there, the last counts
    elif way < 0.3:
        odd = [1e300, [[[]]], {"id": "another"}, "\u0000", 10**40, None, makings.noise(0, 500)]
        envelope |= {"traceparent": chance.choice(odd), "datacontenttype": 7}
        envelope = dict(sorted(envelope.items(), key=lambda _: chance.random()))
        if event.type != OPENED:
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
