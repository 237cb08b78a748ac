"""A stream of events whose outcome is known, and the judgement of what came of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from contracts.times import SECOND, format_rfc3339
from tests.e2e.line import Line, now

PEOPLE = tuple(f"gp-{number:02}" for number in range(24))


@dataclass
class Load:
    """Activities that open, are joined, moved and closed, without a pause, until told to stop.

    All events of an activity share its key, so they arrive in order, but one completion in eight is sent
    ahead of its opening, one event in six is sent twice.
    """

    line: Line
    chance: random.Random
    finished: dict[str, set[str]] = field(default_factory=dict)
    living: list[str] = field(default_factory=list)
    events: int = 0
    _stopping: bool = False

    async def _send(self, event: dict[str, Any]) -> None:
        self.events += 1
        await self.line.send(*[event] * self.chance.choice((1, 1, 1, 1, 1, 2)))

    async def _begin(self) -> None:
        name = f"u-{len(self.finished)}"
        self.line.declare(name, PEOPLE)
        self.finished[name] = set()
        self.living.append(name)
        if self.chance.random() < 1 / 8:
            await self._finish(name)
        far = format_rfc3339(now() + 1800 * SECOND)  # with so long a notice it is near at once
        await self._send(
            self.line.opened(name, PEOPLE, deadline=self.chance.choice((far, None)), notice=3600)
        )
        if self.chance.random() < 1 / 4:
            moved = self.line.event("activity.rescheduled", name, {"deadline": far, "notice": 0})
            await self._send(moved)  # and open again

    async def _finish(self, name: str) -> None:
        left = sorted(set(PEOPLE) - self.finished[name])
        if left:
            people = self.chance.sample(left, min(len(left), self.chance.randint(1, 3)))
            self.finished[name].update(people)
            await self._send(self.line.completed(name, *people))

    async def _close(self, name: str) -> None:
        self.living.remove(name)
        await self._send(self.line.event("activity.closed", name, {}))

    async def run(self) -> None:
        """Until `stop`; then everything that is still open is closed."""
        while not self._stopping:
            step = self.chance.random()
            if len(self.living) < 10 or step < 0.1:
                await self._begin()
            elif step > 0.93:
                await self._close(self.chance.choice(self.living))
            else:
                await self._finish(self.chance.choice(self.living))
        for name in [*self.living]:
            await self._close(name)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True

    def wrong(self) -> list[str]:
        """What the cards show that they should not."""
        problems = []
        for name, finished in self.finished.items():
            card = self.line.card(name)
            if (shown := card.posts.keys()) != finished:
                problems.append(f"{name}: {sorted(shown ^ finished)} are shown wrongly")
            if card.target_state != 3:
                problems.append(f"{name} shows {card.target_state}")
            if card.repeated_posts:
                problems.append(f"{name}: {card.repeated_posts} members were posted twice")
        return problems


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
