"""What other services publish in a run: thousands of activities' lives, drawn by a seed."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from contracts.times import SECOND, format_rfc3339
from services.simulator.cards import Declaration
from tests.verification.chaos.plan import APPS

PRODUCERS: Final = 3
PARTITIONS: Final = 8
HOURS: Final = 3 * 3600.0
STRANGER: Final = "gp-stranger"
"""Somebody who is not listed: livecard refuses them."""
GHOST: Final = "gp-ghost"
"""Somebody who is not in the room, though everyone takes part: WeChat refuses them."""


class Sending(msgspec.Struct, frozen=True):
    """One record: when (seconds from the beginning), by whom, where, and the event."""

    at: float
    producer: int
    partition: int
    binary: bool
    event: dict[str, Any]


class Script(msgspec.Struct, frozen=True):
    """A run's cards, and everything published, in order of time."""

    cards: list[Declaration]
    sendings: list[Sending]

    @property
    def events(self) -> int:
        """How many distinct events there are."""
        return len({(each.event["source"], each.event["id"]) for each in self.sendings})


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
        self.name, self.begin, self.limit = f"c-{place}", begin, seconds * 0.97
        self.sendings: list[Sending] = []
        self.made = 0
        self.home = None if chance.random() < 0.1 else chance.randrange(PARTITIONS)
        self.start = chance.uniform(0.0, 0.75) * seconds
        self.length = max(1.0, min(chance.uniform(5.0, 60.0), self.limit - self.start))
        self.people = [f"gp-{number}" for number in range(chance.randint(3, 22))]
        self.later = [f"gp-later-{number}" for number in range(2)]
        self.everyone = chance.random() < 0.2
        self.appid = chance.choice(APPS)
        self.template = chance.choice(("complete", "participate"))
        self.version = chance.choice(("release", "trial", "develop"))
        self.expires_at = begin + int(HOURS * SECOND)
        self.card = self._declaration()
        getattr(self, f"_{self._ending()}")()

    def _declaration(self) -> Declaration:
        kind: dict[str, Any] = {"template": self.template, "version": self.version}
        return Declaration(
            activity_id=self.name,
            appid=self.appid,
            choose="everyone" if self.everyone else "listed",
            participants=tuple(self.people),
            members=(*self.people, *self.later),
            publisher="gp-publisher",
            expires_at=self.expires_at,
            **kind,
        )

    def _ending(self) -> str:
        if self.home is None:
            return self.chance.choice(("complete", "open_end"))
        return self.chance.choices(("deadline", "closed", "complete", "open_end"), (45, 20, 20, 15))[0]

    # The four kinds of lives.

    def _deadline(self) -> None:
        """The end comes by itself, after being moved perhaps, also into the past and back to collecting."""
        chance, end = self.chance, self.start + self.length * 0.7
        notice = chance.randint(0, max(1, int(self.length * 0.4)))
        self._open(deadline=self._text(end), notice=notice)
        moved = chance.random()
        if moved < 0.2:
            self._move(self.start + self.length * chance.random(), end + chance.uniform(-5.0, 5.0))
        elif moved < 0.4:  # once it is nearing, so that it goes back to collecting
            self._move(end - notice / 2, min(self.limit, end + notice + 3.0), notice=chance.randint(1, 3))
        elif moved < 0.45:
            self._move(self.start + self.length * 0.3, self.start)
        self._finishers(self.people[: chance.randint(1, len(self.people))], self.length)

    def _closed(self) -> None:
        """Ended by its publisher; who comes after that is late, or refused."""
        self._open()
        self._finishers(self.people[: self.chance.randint(1, len(self.people))], self.length)
        self._say(self.start + self.length * 0.8, "activity.closed", {})

    def _complete(self) -> None:
        """Ended by the last of those listed."""
        self._open(close_when_complete=not self.everyone)
        self._finishers(self.people, self.length * 0.8)

    def _open_end(self) -> None:
        """Nobody ends it while we look; its deadline may be near all the time."""
        notice = 10 if self.home is None else self.chance.choice((10, int(HOURS)))
        self._open(**self.chance.choice(({}, {"deadline": self._text(HOURS - 600.0), "notice": notice})))
        self._finishers(self.people[: self.chance.randint(1, len(self.people))], self.length)

    def _open(self, **more: Any) -> None:
        """Open it, perhaps after the first completions, perhaps twice."""
        body = {
            "appid": self.appid,
            "template": self.template,
            "version": self.version,
            "publisher": "gp-publisher",
            "expires_at": format_rfc3339(self.expires_at),
            "choose": "everyone" if self.everyone else "listed",
            **({} if self.everyone else {"participants": self.people}),
            **more,
        }
        self._say(self.start, "activity.opened", body)
        again = self.chance.random()
        if again < 0.05:
            self._say(self.start + self.length / 2, "activity.opened", body)
        elif again < 0.1 and self.home is not None:
            self._say(self.start + self.length / 2, "activity.opened", {**body, "title": "另一个"})

    def _move(self, at: float, deadline: float, **more: Any) -> None:
        body = {"deadline": self._text(min(deadline, self.limit)), **more}
        self._say(at, "activity.rescheduled", body)

    def _finishers(self, people: list[str], length: float) -> None:
        """Who finishes, alone or together; some spoke too early, some say when, some are strangers."""
        chance, left = self.chance, list(people)
        chance.shuffle(left)
        if self.home is not None and not self.everyone and chance.random() < 0.1:
            self._say(self.start + 0.1, "participant.added", {"members": self.later})
            left += self.later
        while left:
            together = min(len(left), chance.choice((1, 1, 1, 2, 3)))
            who, left = left[:together], left[together:]
            at = self.start + chance.uniform(-0.1, 1.0) * length
            said = at - chance.choice((0.0, 0.0, 1.0, length / 2, -30.0))
            if self.home is not None and chance.random() < 0.05:
                who = [*who, GHOST if self.everyone else STRANGER]
            self._say(at, "participant.completed", {"members": who}, said)

    # How it is written down.

    def _text(self, at: float) -> str:
        return format_rfc3339(self.begin + round(at * SECOND))

    def _say(self, at: float, kind: str, data: dict[str, Any], time: float | None = None) -> None:
        chance, at = self.chance, max(0.0, at)
        self.made += 1
        event = {
            "specversion": "1.0",
            "id": f"{self.name}-{self.made}",
            "source": f"/chaos/{chance.randrange(PRODUCERS)}",
            "type": f"livecard.{kind}",
            "subject": self.name,
            "time": self._text(at if time is None else time),
            "data": data,
        }
        binary = chance.random() < 0.2
        for repeat in range(chance.choice((1, 1, 1, 2, 3))):
            when = at + (chance.uniform(0.0, 5.0) if repeat else 0.0)
            partition = chance.randrange(PARTITIONS) if self.home is None else self.home
            said = event
            if repeat and kind == "participant.completed" and chance.random() < 0.1 and self.home is not None:
                said = {**event, "data": {"members": [self.people[-1]]}}  # the same id: the first one counts
            self.sendings.append(Sending(when, chance.randrange(PRODUCERS), partition, binary, said))
