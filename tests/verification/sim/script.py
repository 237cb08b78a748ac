"""What other services publish in a schedule: a few activities with everything that happens to them."""

from __future__ import annotations

import random
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
from contracts.times import SECOND, format_rfc3339
from tests.verification.sim.weather import LEAP, LENGTH, Weather

TYPES: Final = {
    Opened: OPENED,
    Rescheduled: RESCHEDULED,
    Closed: CLOSED,
    Completed: COMPLETED,
    Added: ADDED,
}
MEMBERS: Final = tuple(f"m{number}" for number in range(1, 7))
LIFE: Final = 86_400.0
NEVER: Final = "never"
"""The activity that nobody opens."""
OLD: Final = "old"
"""The activity whose life was over before the others began."""
BEFORE: Final = 20.0
"""Seconds of that life, until time leaps."""


class Said(msgspec.Struct, frozen=True):
    """An event, and when (seconds) it is published."""

    at: float
    event: Event


def script(seed: int, begin: int, weather: Weather) -> list[Said]:
    """The events of a seed in order of publication; `begin` is the world's first moment, µs."""
    chance = random.Random(f"script-{seed}")
    said: list[Said] = []
    later = 0.0
    if "leap" in weather.rates:
        said += _other_life(chance, begin)
        later = LEAP + BEFORE
        begin += round(later * SECOND)
    for number in range(chance.choice((1, 1, 1, 2, 2))):
        name = f"a{number + 1}"
        for at, data in _life(chance, begin, weather):
            time = begin + round((at - chance.choice((0.0, 0.0, 1.0, 20.0))) * SECOND)
            key = f"e{len(said) + 1}"
            said.append(Said(later + at, Event("/sim", key, TYPES[type(data)], name, time, data)))
    if later:  # the event that waited for weeks comes once more
        said.append(Said(later + chance.uniform(0.0, 40.0), said[0].event))
    return sorted(said, key=lambda each: each.at)


def _other_life(chance: random.Random, begin: int) -> list[Said]:
    """An activity that is over and forgotten before the others begin, and an event far ahead of its own."""
    early = Completed(tuple(chance.sample(MEMBERS, 2)))
    opened = Opened(
        appid="wx1", template="complete", choose="everyone", expires_at=begin + round(LIFE * SECOND)
    )
    happens: list[tuple[float, str, EventData]] = [
        (chance.uniform(0.5, 5.0), NEVER, early),
        (0.2, OLD, opened),
        (chance.uniform(1.0, 6.0), OLD, Completed(tuple(chance.sample(MEMBERS, 3)))),
        (chance.uniform(4.0, 9.0), OLD, Closed()),
    ]
    return [
        Said(at, Event("/sim", f"o{place}", TYPES[type(data)], name, begin + round(at * SECOND), data))
        for place, (at, name, data) in enumerate(happens)
    ]


def _life(chance: random.Random, begin: int, weather: Weather) -> list[tuple[float, EventData]]:
    """One activity's events, each with its time."""

    def moment(low: float, high: float) -> int:
        return begin + round(chance.uniform(low, high) * SECOND)

    listed = chance.random() < 0.7
    life = LIFE if chance.random() < 0.85 else chance.uniform(80.0, 160.0)
    if weather.lives:
        life = chance.uniform(*weather.lives)
    opened = Opened(
        appid=chance.choice(("wx1", "wx1", "wx2")),
        template=chance.choice(("complete", "participate")),
        choose="listed" if listed else "everyone",
        participants=tuple(MEMBERS[: chance.randrange(2, 6)]) if listed else (),
        expires_at=begin + round(life * SECOND),
        deadline=moment(15, 70) if chance.random() < 0.7 else None,
        notice=chance.randrange(3, 20),
        close_when_complete=listed and chance.random() < 0.3,
        ignored=("particpants",) if listed and life < LIFE else (),
    )
    first = chance.uniform(*weather.opens)
    happens: list[tuple[float, EventData]] = [(first, opened)]
    for _ in range(chance.randrange(2, 6)):
        at = chance.uniform(first if chance.random() < 0.8 else 0.0, LENGTH - 5)
        happens.append((at, _something(chance, moment)))
    if weather.flips:
        for place in range(chance.randrange(2, 6)):
            at = first + 2 + place * chance.uniform(1.0, 9.0)
            far = begin + round((at + (300 if place % 2 else 8)) * SECOND)
            happens.append((at, Rescheduled(deadline=far, notice=30)))
    return happens


def _something(chance: random.Random, moment: Any) -> EventData:
    kind = chance.random()
    some = tuple(chance.sample(MEMBERS, chance.choice((1, 1, 1, 2, 4))))
    if kind < 0.62:
        return Completed(some)
    if kind < 0.8:
        deadline = None if chance.random() < 0.15 else moment(10, 90)
        return Rescheduled(deadline=deadline, notice=chance.choice((None, 5, 15)))
    if kind < 0.9:
        return Added(some)
    return Closed()


def encode(event: Event) -> bytes:
    """The event as a producer writes it."""
    data = msgspec.to_builtins(event.data)
    data |= dict.fromkeys(data.pop("ignored", ()), "nobody reads it")
    for name in ("deadline", "expires_at"):
        if data.get(name) is not None:
            data[name] = format_rfc3339(data[name])
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.activity_id,
        "time": format_rfc3339(event.time),
        "data": data,
    }
    return msgspec.json.encode(document)
