"""One activity's life: its opening, and everything that happens to it before and after."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from contracts.events import Added, Closed, Completed, EventData, Opened, Rescheduled, Room
from contracts.times import SECOND
from contracts.wechat import Template, Version

T = TypeVar("T")
Range = tuple[float, float]
"""From, to."""
Kinds = tuple[tuple[float, type[EventData]], ...]
"""Each kind of news below its limit of a draw from 0 to 1; what is left is a closing."""
FLIPS: Final = (8, 300)
"""Seconds ahead of the deadlines that flips move back and forth: within their notice, and beyond it."""
FLIP_NOTICE: Final = 30


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How the lives of a tool go. Moments are seconds from the run's begin, odds go from 0 to 1, and where
    there are several of something one is chosen.

    The opening: `opens`, and `expires`, which draws when its id dies; `listed`: the odds that the first of
    `whom` are, as many as `people` says, else everyone takes part; `dated`: the odds of a deadline, within
    `deadlines`, with one of `notices`; `complete`: it ends when all are done. `again`, `another`: the odds
    that it is opened once more, with the same or with another title.

    Then `news`: how many things happen until `ends`, of which `kinds`; at the odds of `prompt` surely after
    the opening, else from `begins` on. They name some of `whom`, `together` of them. A reschedule takes the
    deadline away (`undated`) or moves it within `moves`, with one of `moved_notices`. `flips`: it is moved to
    and fro, too. `dealt`: a share of `whom`, each of whom finishes in just one event. `closes`: when its
    publisher closes it, and not only by chance. `ignored`: unknown fields in the opening of a list.

    `lags`: by how many seconds the time of an event lies before its publication.

    `rooms`: of which the opening names one. `openids`: by whom an event names people at the odds of
    `by_openid`, some of them or all.
    """

    whom: Sequence[str]
    expires: Callable[[random.Random], float]
    ends: float
    begins: float = 0.0
    opens: Range = (0.0, 0.0)
    listed: float = 1.0
    people: Sequence[int] = (0,)
    apps: Sequence[str] = ("wx1",)
    templates: Sequence[Template] = ("complete", "participate")
    versions: Sequence[Version] = ("release",)
    dated: float = 0.0
    deadlines: Sequence[Range] = ()
    notices: Sequence[int] = (3600,)
    complete: float = 0.0
    again: float = 0.0
    another: float = 0.0
    news: Sequence[int] = (0,)
    kinds: Kinds = ()
    together: Sequence[int] = (1,)
    prompt: float = 1.0
    undated: float = 0.0
    moves: Sequence[Range] = ()
    moved_notices: Sequence[int | None] = (None,)
    flips: bool = False
    dealt: Range | None = None
    closes: Range | None = None
    ignored: tuple[str, ...] = ()
    lags: Sequence[float] = (0.0,)
    rooms: Sequence[Room | None] = (None,)
    openids: Mapping[str, str] = msgspec.field(default_factory=dict)
    by_openid: float = 0.0


class Happening(msgspec.Struct, frozen=True):
    """Something of a life: when it is published, when it happened, both in seconds, and what it is."""

    at: float
    time: float
    data: EventData


def draw_life(chance: random.Random, begin: int, weights: Weights) -> list[Happening]:
    """A whole life, in no order; `begin` (µs) is the run's. What cannot be is not drawn for: a schedule of
    old stays the same when others are given new weights."""
    life = _Life(chance, begin, weights)
    return [Happening(at, at - one(chance, weights.lags), data) for at, data in [*life.happens()]]


def one(chance: random.Random, options: Sequence[T]) -> T:
    """One of them."""
    return options[0] if len(options) == 1 else chance.choice(options)


class _Life:
    def __init__(self, chance: random.Random, begin: int, weights: Weights) -> None:
        self.chance, self.begin, self.weights = chance, begin, weights

    def happens(self) -> Iterator[tuple[float, EventData]]:
        chance, weights = self.chance, self.weights
        opened = self._opened()
        first = chance.uniform(*weights.opens)
        yield first, opened
        for _ in range(one(chance, weights.news)):
            yield self._moment_after(first), self._news()
        if weights.flips:
            yield from self._flips(first)
        if weights.dealt is not None:
            yield from self._dealt(first, weights.dealt)
        if self._strikes(weights.again):
            yield self._moment_after(first), opened
        if self._strikes(weights.another):
            yield self._moment_after(first), msgspec.structs.replace(opened, title="另一个")
        if weights.closes is not None:
            yield chance.uniform(*weights.closes), Closed()

    def _opened(self) -> Opened:
        chance, weights = self.chance, self.weights
        listed = chance.random() < weights.listed
        expires = weights.expires(chance)
        return Opened(
            appid=one(chance, weights.apps),
            template=one(chance, weights.templates),
            version=one(chance, weights.versions),
            choose="listed" if listed else "everyone",
            participants=tuple(weights.whom[: one(chance, weights.people)]) if listed else (),
            expires_at=self._us(expires),
            deadline=self._within(weights.deadlines) if self._strikes(weights.dated) else None,
            notice=one(chance, weights.notices),
            close_when_complete=listed and self._strikes(weights.complete),
            ignored=weights.ignored if listed else (),
            room=one(chance, weights.rooms),
        )

    def _news(self) -> EventData:
        chance, weights = self.chance, self.weights
        kind, whom = chance.random(), self._some(weights.whom)
        what = next((what for limit, what in weights.kinds if kind < limit), Closed)
        if what is not Rescheduled:
            return Closed() if what is Closed else self._about(Added if what is Added else Completed, whom)
        deadline = None if self._strikes(weights.undated) else self._within(weights.moves)
        return Rescheduled(deadline=deadline, notice=one(chance, weights.moved_notices))

    def _flips(self, first: float) -> Iterator[tuple[float, EventData]]:
        for place in range(self.chance.randrange(2, 6)):
            at = first + 2 + place * self.chance.uniform(1.0, 9.0)
            yield at, Rescheduled(deadline=self._us(at + FLIPS[place % 2]), notice=FLIP_NOTICE)

    def _dealt(self, first: float, share: Range) -> Iterator[tuple[float, EventData]]:
        whom, chance = self.weights.whom, self.chance
        left = chance.sample(whom, max(1, round(chance.uniform(*share) * len(whom))))
        while left:
            together = one(chance, self.weights.together)
            yield self._moment_after(first), self._about(Completed, tuple(left[:together]))
            left = left[together:]

    def _about(self, kind: type[Added | Completed], whom: tuple[str, ...]) -> Added | Completed:
        if not self._strikes(self.weights.by_openid):
            return kind(whom)
        named = self.chance.randrange(len(whom))
        return kind(whom[:named], tuple(self.weights.openids[each] for each in whom[named:]))

    def _moment_after(self, first: float) -> float:
        prompt = self.chance.random() < self.weights.prompt
        return self.chance.uniform(first if prompt else self.weights.begins, self.weights.ends)

    def _some(self, whom: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.chance.sample(whom, one(self.chance, self.weights.together)))

    def _strikes(self, odds: float) -> bool:
        return odds > 0 and self.chance.random() < odds

    def _within(self, ranges: Sequence[Range]) -> int:
        return self._us(self.chance.uniform(*one(self.chance, ranges)))

    def _us(self, seconds: float) -> int:
        return self.begin + round(seconds * SECOND)
