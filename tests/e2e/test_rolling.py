"""Replicas come and go under load: no gap, no repeat, and nothing is left for a lease to run out."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from contracts.times import SECOND, format_rfc3339
from scripts.patience import PATIENCE
from services.simulator.faults import Action, Match, Rule
from tests.e2e.line import Line, Service, a_line, free_port, now, until

SERVICES = ("lifecycle", "clock", "dispatcher")
RATE = 40.0
"""Completions a second."""
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


class Rain:
    """Completions and timers without end; remembers who finished where."""

    def __init__(self, line: Line, activities: int, people: int) -> None:
        self.line, self.people = line, people
        self.names = [f"r-{place}" for place in range(activities)]
        self.finished: Counter[str] = Counter()
        self.timed: list[str] = []
        self.events = 0

    async def begin(self) -> None:
        """Every activity is open."""
        everyone = [f"gp-{place}" for place in range(self.people)]
        for name in self.names:
            self.line.declare(name, everyone)
        await self.line.send(*(self.line.opened(name, everyone) for name in self.names))
        self.events += len(self.names)

    async def fall(self) -> None:
        """Until cancelled."""
        turn = 0
        while True:
            name = self.names[turn % len(self.names)]
            person = f"gp-{self.finished[name]}"
            self.finished[name] += 1
            self.events += 1
            await self.line.send(self.line.completed(name, person))
            if turn % 20 == 0:
                await self._timed(f"t-{turn}")
            turn += 1
            await asyncio.sleep(1 / RATE)

    async def _timed(self, name: str) -> None:
        """One that a clock ends soon."""
        self.line.declare(name, ["gp-0"])
        self.timed.append(name)
        self.events += 2
        deadline = format_rfc3339(now() + 2 * SECOND)
        await self.line.send(
            self.line.opened(name, ["gp-0"], deadline=deadline, notice=1), self.line.completed(name, "gp-0")
        )

    def right(self) -> bool:
        """Whether every card shows what happened."""
        cards = self.line.simulator.model.cards
        return all(len(cards[name].posts) == self.finished[name] for name in self.names) and all(
            cards[name].target_state == 3 for name in self.timed
        )


class Gap:
    """The longest time in which no event was taken in."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.longest = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        connection = await connected(self._database)
        loop = asyncio.get_running_loop()
        known, since = -1, loop.time()
        try:
            while True:
                async with connection.transaction():
                    count = await connection.fetchval("SELECT count(*) FROM inbox")
                if count != known:
                    known, since = count, loop.time()
                self.longest = max(self.longest, loop.time() - since)
                await asyncio.sleep(0.02)  # how finely it is measured
        finally:
            await connection.close()


async def connected(database: str) -> Any:
    """A connection of our own, which may lead through a pooler: no statement of it has a name."""
    return await asyncpg.connect(database.replace("+asyncpg", ""), statement_cache_size=0)


async def leases_of(database: str, holder: str) -> int:
    """What in the database still waits for this process."""
    connection = await connected(database)
    try:
        async with connection.transaction():
            return int(
                await connection.fetchval(
                    "SELECT (SELECT count(*) FROM activities WHERE lease_by = $1)"
                    " + (SELECT count(*) FROM relay_leases WHERE owner = $1)"
                    " + (SELECT count(*) FROM relays WHERE owner = $1)",
                    holder,
                )
            )
    finally:
        await connection.close()


def holder_of(service: Service) -> str:
    """The name under which it holds leases: in every line of its log."""
    lines = [msgspec.json.decode(line) for line in service.log.read_text().splitlines()]
    return next(str(line["process"]) for line in lines if "process" in line)


async def test_every_service_is_replaced_under_load_and_nobody_notices(line: Line) -> None:
    """Two of each; one of each leaves before another joins, then a third of each joins before one leaves.
    Whoever leaves does so with 0 and gives everything back at once.

    An event may be read again while somebody joins; that changes nothing, and nobody is told again."""
    # So that calls are in flight all the time.
    line.simulator.faults.add([Rule(action=Action(latency=0.2), match=Match())])
    services = await line.start(*SERVICES, *SERVICES)
    rain, gap = Rain(line, activities=40, people=2000), Gap(line.database)
    await rain.begin()
    falling = [asyncio.create_task(rain.fall()), asyncio.create_task(gap.run())]
    await until(lambda: min(rain.finished.values(), default=0) >= 2, "it rains")
    for leaving, joins_first in zip(services, [False] * 3 + [True] * 3, strict=True):
        if joins_first:
            await line.start(leaving.kind)
        holder = holder_of(leaving)
        assert await leaving.terminate() == 0, leaving.log.read_text()[-2000:]
        assert await leases_of(line.database, holder) == 0, f"{holder} left something behind"
        if not joins_first:
            assert (await line.ledger())["events"]["repeats"] == 0
            await line.start(leaving.kind)
    for task in falling:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await until(rain.right, "every card is right")
    ledger = await line.settled()
    cards = line.simulator.model.cards
    for name in rain.names:
        assert cards[name].posts == {f"gp-{place}": 1 for place in range(rain.finished[name])}
    # Whoever was taken in after the end was late: known as done, not on the card.
    late = [name for name in rain.timed if cards[name].posts != {"gp-0": 1}]
    assert all(cards[name].posts == {} for name in late)
    assert ledger["events"]["late"] == len(late)
    assert sum(card.repeated_posts + card.lowered for card in cards.values()) == 0
    assert ledger["events"]["applied"] == rain.events - len(late)
    assert ledger["calls"]["unknown"] == 0
    assert ledger["calls"]["members_repeated"] == 0
    assert ledger["calls"]["made"] == sum(len(card.history) for card in cards.values())
    print(f"{rain.events} events; the longest time without one taken in: {gap.longest:.2f} s")


async def launched(line: Line, kind: str, **settings: str) -> Service:
    """Started, not waited for."""
    port = free_port()
    env = {**line.env, **settings, "LIVECARD_HTTP": f"127.0.0.1:{port}"}
    service = Service(kind, env, port, line.folder / f"{kind}-{port}.log")
    line.services.append(service)
    await service.launch()
    return service


async def gone(service: Service) -> int:
    """Its exit code."""
    assert service.process is not None
    async with asyncio.timeout(PATIENCE):
        code = await service.process.wait()
    assert "Traceback" not in service.log.read_text(), service.log.read_text()[-3000:]
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", SERVICES)
async def test_asked_to_leave_before_it_has_joined(line: Line, kind: str, number: signal.Signals) -> None:
    """It serves already and still looks for a broker that is not there: it leaves with 0."""
    service = await launched(line, kind, LIVECARD_KAFKA="127.0.0.1:9")
    await until(service.answers, "it serves")
    service.signal(number)
    assert await gone(service) == 0


@pytest.mark.parametrize("kind", SERVICES)
async def test_asked_to_leave_twice(line: Line, kind: str) -> None:
    """The second SIGTERM waits for nothing any more, also for a call that hangs; it still leaves in order."""
    line.simulator.faults.add([Rule(action=Action(hang=60.0), match=Match())])
    (lifecycle, service) = await line.start("lifecycle", kind)
    line.declare("w-1", ["gp-1"])
    await line.send(line.opened("w-1", ["gp-1"]), line.completed("w-1", "gp-1"))
    if kind == "dispatcher":
        await until(lambda: calling(service), "the call is under way")
    service.signal(signal.SIGTERM)
    await until(lambda: "draining" in service.log.read_text(), "it drains")
    if service.process is not None and service.process.returncode is None:
        with suppress(ProcessLookupError):
            service.signal(signal.SIGTERM)
    assert await gone(service) == 0
    assert await lifecycle.terminate() == 0


async def calling(service: Service) -> bool:
    """Whether it has a call in flight."""
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{service.port}/metrics")).text
    return "livecard_calls_in_flight 1.0" in page
