"""The whole topic by one seed: good events of many activities between bad records and repetitions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from contracts.events import COMPLETED, Completed, Event
from tests.verification.fuzz.bad import RARE, BadMaker
from tests.verification.fuzz.good import Life, planned, written
from tests.verification.fuzz.makings import Makings, Planned

AT_ONCE: Final = 300
"""Activities under way at a time."""
REMEMBERED: Final = 3_000
"""Good records of late, of which some come again."""
AGAIN: Final = "again"
OTHER: Final = "same id, other content"
MENDED: Final = "bad, mended later under its id"
AFTERWARDS: Final = "bad under the id of a good one"


class Mix:
    """Records for ever; the same for the same seed and `begin`."""

    def __init__(self, seed: int, begin: int) -> None:
        self.makings = Makings(seed, begin)
        self.chance, self.bad = self.makings.chance, BadMaker(self.makings)
        self._common = [kind for kind in self.bad.kinds if kind not in RARE]
        self._lives = [Life(self.makings) for _ in range(AT_ONCE)]
        self._late: deque[tuple[Planned, Life]] = deque(maxlen=REMEMBERED)

    def records(self) -> Iterator[Planned]:
        """First one of each kind of bad ones, so that every run has them all."""
        yield from map(self.bad.make, self.bad.kinds)
        while True:
            what = self.chance.random()
            if what < 0.44:
                yield self._bad()
            elif what < 0.50 and self._late:
                yield self._again()
            else:
                yield from self._good()

    def _bad(self) -> Planned:
        rare = self.chance.random()
        for kind, part in RARE.items():
            rare -= part
            if rare < 0:
                return self.bad.make(kind)
        return self.bad.make(self.chance.choice(self._common))

    def _good(self) -> Iterator[Planned]:
        place = self.chance.randrange(AT_ONCE)
        life = self._lives[place]
        data = next(life.left, None)
        if data is None:
            self._lives[place] = Life(self.makings)
            return
        good = planned(life, data)
        if self.chance.random() < 0.01 and not life.scattered:
            broken = self.bad.make("invalid data", good.ids, good.partition)
            yield msgspec.structs.replace(broken, kind=MENDED)
        self._late.append((good, life))
        yield good

    def _again(self) -> Planned:
        """What came before comes again, or something else under its id: the first wins."""
        good, life = self.chance.choice(self._late)
        event, what = good.event, self.chance.random()
        assert event is not None
        if what < 0.6:
            where = life.partition()  # of a scattered life it may so overtake the first
            return msgspec.structs.replace(good, kind=AGAIN, partition=where)
        if what < 0.7:
            broken = self.bad.make("invalid data", good.ids, good.partition)
            return msgspec.structs.replace(broken, kind=AFTERWARDS)
        if life.scattered:  # which of two contents is the first, nobody could know
            return msgspec.structs.replace(good, kind=AGAIN)
        members = ["p0", "p1", "somebody else"]
        home = self.chance.choice([event.activity_id, "another"])
        other = Event(event.source, event.id, COMPLETED, home, self.makings.now(), Completed(tuple(members)))
        message = written(self.makings, other, {"members": members})
        return Planned(OTHER, good.partition, message, other, ids=good.ids)
