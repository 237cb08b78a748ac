"""A stream of events whose outcome is known, and the judgement of what came of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from contracts.events import Added, Completed, EventData, Rescheduled
from tests.e2e.line import APPID, Line, now
from tests.verification.judging.sent import Sent
from tests.verification.lives.life import Weights, draw_life
from tests.verification.lives.wire import cloud_event, event

PEOPLE = tuple(f"gp-{number:02}" for number in range(24))
FAR = 1800.0
WEIGHTS = Weights(
    whom=PEOPLE,
    people=(20,),
    apps=(APPID,),
    templates=("complete",),
    expires=lambda _: 2 * FAR,
    ends=1.0,
    dated=0.5,
    deadlines=((FAR, FAR),),
    notices=(3600,),  # near at once
    news=(0, 1, 2),
    kinds=((0.5, Rescheduled), (0.9, Added), (1.0, Completed)),
    moves=((FAR, FAR),),
    moved_notices=(0,),  # and open again
    dealt=(0.2, 1.0),
    together=(1, 2, 3),
    prompt=0.9,
    closes=(1.0, 1.0),
)
AT_ONCE = 10
"""Activities under way at a time."""


@dataclass
class Load:
    """Activities that open, are joined, moved and closed, without a pause, until told to stop.

    All events of an activity share its key, so they arrive in order, but some completions are sent ahead of
    their opening, one event in six is sent twice.
    """

    line: Line
    chance: random.Random
    sent: Sent = field(default_factory=Sent)
    made: int = 0
    _stopping: bool = False

    @property
    def events(self) -> int:
        """How many distinct events there are so far."""
        return self.sent.events

    def _life(self) -> Iterator[tuple[str, EventData]]:
        self.made += 1
        name = f"u-{self.made}"
        self.line.declare(name, PEOPLE)
        for each in sorted(draw_life(self.chance, now(), WEIGHTS), key=lambda each: each.at):
            yield name, each.data

    async def run(self) -> None:
        """Until `stop`; then what is under way goes on to its end."""
        lives = [self._life() for _ in range(AT_ONCE)]
        while lives:
            place = self.chance.randrange(len(lives))
            if (said := next(lives[place], None)) is not None:
                await self._send(*said)
            elif self._stopping:
                del lives[place]
            else:
                lives[place] = self._life()

    async def _send(self, name: str, data: EventData) -> None:
        said = cloud_event(event("/upgrade", f"e-{self.events + 1}", name, now(), data))
        self.sent.add(said, now())
        await self.line.send(*[said] * self.chance.choice((1, 1, 1, 1, 1, 2)))

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True

    def wrong(self, ledger: dict[str, Any]) -> list[str]:
        """What is not as it should be; nobody was posted twice."""
        cards = self.line.simulator.model.cards
        twice = [f"{name}: members were posted twice" for name, card in cards.items() if card.repeated_posts]
        return self.sent.wrong(cards, ledger, now()) + twice


async def taken(url: str) -> int:
    """How many distinct events the database knows of, whatever its schema."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        counted = await connection.fetchval("SELECT sum(value) FROM counters WHERE name = 'events.taken'")
        return int(counted or 0)
    finally:
        await connection.close()


@dataclass
class Pauses:
    """How long a small transaction over the busiest tables took, in seconds, one after the other."""

    took: list[float] = field(default_factory=list)

    def longest(self, since: int = 0) -> float:
        """Of those from this one on."""
        return max(self.took[since:], default=0.0)


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Pauses]:
    """Write, and take it back, without a pause: whoever is kept waiting would be a service."""
    pauses = Pauses()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "INSERT INTO inbox VALUES ('/watch', 'w', 'watch', 'applied', '', 0); "
                "INSERT INTO activities (activity_id, seen_at) VALUES ('watch', 0); "
                "INSERT INTO attempts (activity_id, revision, fence, at, duration, target_state, members, "
                "outcome, errmsg, rid) VALUES ('watch', 1, 1, 0, 0, 1, 0, 'ok', '', ''); "
                "INSERT INTO counters VALUES (-1, 'watch', 0)"
            )
            await transaction.rollback()
            pauses.took.append(time.perf_counter() - began)

    task = asyncio.create_task(watch())
    try:
        yield pauses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()
