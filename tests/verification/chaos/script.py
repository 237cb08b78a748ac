"""What other services publish in a run: thousands of activities' lives, drawn by a seed."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from contracts.events import Added, Completed, Event, Opened, Rescheduled
from contracts.times import SECOND
from services.simulator.cards import Declaration
from tests.verification.chaos.plan import APPS
from tests.verification.lives.life import Happening, Weights, draw_life
from tests.verification.lives.wire import event

PRODUCERS: Final = 3
PARTITIONS: Final = 8
HOURS: Final = 3 * 3600.0
STRANGER: Final = "gp-stranger"
"""Somebody whom no event names."""
LATER: Final = ("gp-later-0", "gp-later-1")
"""People who are not listed, unless they are added: until then livecard refuses them."""
GHOST: Final = "gp-ghost"
"""Somebody who is not in the room, though everyone takes part: WeChat refuses them."""


class Sending(msgspec.Struct, frozen=True):
    """One record: when (seconds from the beginning), by whom, where, and the event."""

    at: float
    producer: int
    partition: int
    binary: bool
    event: Event


class Script(msgspec.Struct, frozen=True):
    """A run's cards, and everything published, in order of time."""

    cards: list[Declaration]
    sendings: list[Sending]

    @property
    def events(self) -> int:
        """How many distinct events there are."""
        return len({(each.event.source, each.event.id) for each in self.sendings})


def script(seed: int, activities: int, seconds: float, begin: int) -> Script:
    """Lives spread over a run of so many seconds that begins at `begin` (µs)."""
    lives = [_Life(seed, place, seconds, begin) for place in range(activities)]
    sendings = sorted((each for life in lives for each in life.sendings), key=lambda each: each.at)
    return Script([life.card for life in lives], sendings)


class _Life:
    """One activity: opened perhaps after others spoke of it, finished by many, ended in one of several ways.

    An activity's events go to one partition, so that the topic's log says in which order they arrive; a
    wandering one's go anywhere, and then nothing happens to it in which the order matters.
    """

    def __init__(self, seed: int, place: int, seconds: float, begin: int) -> None:
        self.chance = chance = random.Random(f"chaos/{seed}/life/{place}")
        self.name, self.begin, limit = f"c-{place}", begin, seconds * 0.97
        self.home = None if chance.random() < 0.1 else chance.randrange(PARTITIONS)
        self.people = tuple(f"gp-{number}" for number in range(chance.randint(3, 22)))
        start = chance.uniform(0.0, 0.75) * seconds
        length = max(1.0, min(chance.uniform(5.0, 60.0), limit - start))
        life = draw_life(chance, begin, self._weights(start, length))
        happens = sorted((each for each in life if each.at <= limit), key=lambda each: each.at)
        self.sendings = [each for made, what in enumerate(happens, 1) for each in self._sent(made, what)]
        self.card = self._declaration(next(each.data for each in life if isinstance(each.data, Opened)))

    def _weights(self, start: float, length: float) -> Weights:
        """One of four kinds of lives: it ends by its deadline, is closed, is complete, or nobody ends it."""
        chance, end = self.chance, start + length
        everyone, wandering = chance.random() < 0.2, self.home is None
        odds = {"complete": 20, "open_end": 15} | ({} if wandering else {"deadline": 45, "closed": 20})
        (kind,) = chance.choices([*odds], [*odds.values()])
        others = () if wandering or chance.random() < 0.6 else (GHOST,) if everyone else LATER
        ends: dict[str, dict[str, Any]] = {
            "deadline": {
                "dated": 1.0,
                "deadlines": ((start + length * 0.7,) * 2,),
                "notices": range(max(1, int(length * 0.4))),
                "news": (0, 0, 1, 2),
                "kinds": ((0.8, Rescheduled), (1.0, Added)),
                "moves": ((start, end + 5.0), (end, end + 5.0)),
                "moved_notices": (None, 1, 3),
                "flips": chance.random() < 0.2,
            },
            "closed": {"closes": (start + length * 0.8, end)},
            "complete": {"complete": 1.0, "dealt": (1.0, 1.0), "ends": start + length * 0.8},
            "open_end": {
                "dated": 0.5,
                "deadlines": ((HOURS - 600.0,) * 2,),
                "notices": (10,) if wandering else (10, int(HOURS)),
            },
        }
        usual: dict[str, Any] = {
            "whom": self.people if kind == "complete" else (*self.people, *others),
            "dealt": (0.1, 1.0),
            "ends": end,
            "news": (0,) if wandering else (0, 0, 0, 1),
            "kinds": ((1.0, Added),),
        }
        return Weights(
            **usual | ends[kind],
            expires=lambda _: HOURS,
            begins=max(0.0, start - length / 10),
            opens=(start, start),
            listed=0.0 if everyone else 1.0,
            people=(len(self.people),),
            apps=APPS,
            versions=("release", "trial", "develop"),
            again=0.05,
            another=0.0 if wandering else 0.05,
            together=(1, 1, 1, 2, 3),
            prompt=0.9,
            lags=(0.0, 0.0, 1.0, length / 2, -30.0),
        )

    def _declaration(self, opened: Opened) -> Declaration:
        """As it was opened; whoever is listed later is in the room, too."""
        return Declaration(
            activity_id=self.name,
            appid=opened.appid,
            template=opened.template,
            version=opened.version,
            choose=opened.choose,
            participants=self.people,
            members=(*self.people, *LATER),
            publisher="gp-publisher",
            expires_at=opened.expires_at,
        )

    def _sent(self, made: int, what: Happening) -> list[Sending]:
        """Its records: some events are repeated, now and then with something else under the same id."""
        chance, time = self.chance, self.begin + round(what.time * SECOND)
        source, data = f"/chaos/{chance.randrange(PRODUCERS)}", what.data
        binary = chance.random() < 0.2
        said = event(source, f"{self.name}-{made}", self.name, time, data)
        sendings = []
        for repeat in range(chance.choice((1, 1, 1, 2, 3))):
            when = what.at + (chance.uniform(0.0, 5.0) if repeat else 0.0)
            partition = chance.randrange(PARTITIONS) if self.home is None else self.home
            other = repeat and isinstance(data, Completed) and self.home is not None and chance.random() < 0.1
            sent = msgspec.structs.replace(said, data=Completed(self.people[-1:])) if other else said
            sendings.append(Sending(when, chance.randrange(PRODUCERS), partition, binary, sent))
        return sendings
