"""An outage of Kafka, of PostgreSQL or of both under load, and what became of it.

`python -m tests.e2e.outage --seconds 600 --of kafka --manner frozen` starts engines of its own and two
of each service, takes the engine away for so long while events and timers go on, gives it back, and
tells how long it took until the first event was handled and the last card was right.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from scripts.engines import Kafka, Postgres
from scripts.patience import PATIENCE
from tests.e2e.line import Line, Service, a_line, now, until
from tests.verification.judging.sent import Sent

SERVICES: Final = ("lifecycle", "clock", "dispatcher")
BEFORE: Final = 5.0
"""Seconds of load before the outage."""
PAGE: Final = 500
TIMED: Final = 10
"""Activities whose deadline falls into the outage."""

Engine = Literal["kafka", "postgres", "both"]
Manner = Literal["down", "frozen"]


@dataclass
class Figures:
    """What was seen of one outage. `wrong` is empty when all came right."""

    of: str
    manner: str
    seconds: float
    events: int = 0
    first_event: float = 0.0
    last_card: float = 0.0
    last_ready: float = 0.0
    repeated_posts: int = 0
    rss_before: dict[str, float] = field(default_factory=dict)
    rss_after: dict[str, float] = field(default_factory=dict)
    log_lines: dict[str, int] = field(default_factory=dict)
    not_alive: list[str] = field(default_factory=list)
    seen_away: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Trouble:
    """Takes engines away and gives them back."""

    more = 0.0
    """Seconds of load after `afterwards`."""

    def __init__(self, kafka: Kafka, postgres: Postgres, of: Engine, manner: Manner) -> None:
        self._kafka = kafka if of != "postgres" else None
        self._postgres = postgres if of != "kafka" else None
        self._frozen = manner == "frozen"
        self._stopped: list[int] = []

    def strike(self) -> None:
        """Now nobody answers: connections are refused (down), or take everything and say nothing (frozen)."""
        engines = [each.pid for each in self._kafka.processes] if self._kafka else []
        engines += [self._postgres.process.pid] if self._postgres else []
        if self._frozen:
            for pid in family(pid for pid in engines if pid is not None):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    self._stopped.append(pid)
            return
        if self._kafka:
            self._kafka.kill9()
        if self._postgres:
            self._postgres.stop()

    def mend(self) -> None:
        """They answer again."""
        for pid in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if not self._frozen:
            if self._kafka:
                self._kafka.start()
            if self._postgres:
                self._postgres.start()

    def afterwards(self) -> None:
        """What else happens once everybody is ready again."""


def family(parents: Iterable[int]) -> list[int]:
    """These processes and their children (PostgreSQL's backends are its children)."""
    known = list(parents)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text().partition(" (")
            if int(rest.rpartition(") ")[2].split()[1]) in known:
                known.append(int(pid))
    return known


class Load:
    """Completions at a steady rate, whether the broker takes them or not: what it refuses is sent later."""

    def __init__(self, line: Line, activities: int, rate: float) -> None:
        self.line, self.rate = line, rate
        self.names = [f"o-{place}" for place in range(activities)]
        self.timed = [f"t-{place}" for place in range(TIMED)]
        self.expected: dict[str, set[str]] = {name: set() for name in self.names}
        self.sent = Sent()
        self._waiting: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        self._closed = False

    async def begin(self, deadlines: list[int], people: int) -> None:
        """Every card is in its chat, every activity open."""
        everyone = [f"gp-{place}" for place in range(people)]
        for name in [*self.names, *self.timed]:
            self.line.declare(name, everyone)
        for name in self.names:
            self.add(self.line.opened(name, everyone, expires_at=format_rfc3339(now() + 86_400 * SECOND)))
        for name, deadline in zip(self.timed, deadlines, strict=True):
            self.add(self.line.opened(name, everyone, deadline=format_rfc3339(deadline), notice=1))

    def add(self, event: dict[str, Any]) -> None:
        """One event to send."""
        self.sent.add(event, now())
        self._waiting.append(event)
        self._more.set()

    async def make(self, seconds: float) -> None:
        """Somebody finishes, again and again."""
        for place in range(round(seconds * self.rate)):
            name = self.names[place % len(self.names)]
            person = f"gp-{len(self.expected[name])}"
            self.expected[name].add(person)
            self.add(self.line.completed(name, person))
            await asyncio.sleep(1 / self.rate)

    def finish(self) -> None:
        """Everybody goes home."""
        for name in self.names:
            self.add(self.line.event("activity.closed", name, {}))
        self._closed = True

    async def send(self, producer: AIOKafkaProducer) -> None:
        """Until all was made and the broker has it; a repeat is harmless."""
        topic = Topics(self.line.prefix).events
        while not self._closed or self._waiting:
            if not self._waiting:
                self._more.clear()
                await self._more.wait()
            page, self._waiting = self._waiting[:PAGE], self._waiting[PAGE:]
            while True:
                try:
                    sent = [
                        await producer.send(topic, msgspec.json.encode(each), key=each["subject"].encode())
                        for each in page
                    ]
                    await asyncio.gather(*sent)
                except KafkaError:
                    await asyncio.sleep(0.5)
                else:
                    break

    def right(self, expected: dict[str, set[str]], *, ends: bool) -> bool:
        """Whether the cards show at least these people, and the ends that fell into the outage."""
        cards = self.line.simulator.model.cards
        ended = not ends or all(cards[name].target_state == 3 for name in self.timed)
        return ended and all(people <= cards[name].posts.keys() for name, people in expected.items())


class Observer:
    """Asks every process how it is, once a second."""

    def __init__(self, line: Line, figures: Figures) -> None:
        self.line, self.figures = line, figures
        self.client = httpx.AsyncClient(timeout=PATIENCE)
        self.ready: dict[str, bool] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with self.client:
            while True:
                await asyncio.gather(*(self._ask(service) for service in self.line.services))
                await asyncio.sleep(1.0)

    async def _ask(self, service: Service) -> None:
        base, who = f"http://127.0.0.1:{service.port}", name_of(service)
        try:
            alive = await self.client.get(f"{base}/healthz")
            if alive.status_code != 200:
                self.figures.not_alive.append(f"{who}: {alive.text}")
            ready = await self.client.get(f"{base}/readyz")
        except httpx.TransportError as error:
            self.figures.not_alive.append(f"{who}: {type(error).__name__}")
            return
        self.ready[who] = ready.status_code == 200
        if ready.status_code != 200:
            said = self.figures.seen_away.setdefault(service.kind, [])
            for why in ready.json()["waiting"].values():
                if why not in said and len(said) < 12:
                    said.append(why)

    async def events(self) -> float:
        """How many events the lifecycles say they took in."""
        total = 0.0
        for service in self.line.services:
            if service.kind == "lifecycle":
                page = (await self.client.get(f"http://127.0.0.1:{service.port}/metrics")).text
                total += sum(
                    float(row.rpartition(" ")[2])
                    for row in page.splitlines()
                    if row.startswith("livecard_events_total")
                )
        return total

    def rss(self) -> dict[str, float]:
        """Resident MiB of each process."""
        return {name_of(each): resident(each) for each in self.line.services}


def name_of(service: Service) -> str:
    """What figures call it."""
    return f"{service.kind}-{service.port}"


def resident(service: Service) -> float:
    """Resident MiB of a process."""
    assert service.process is not None
    for row in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if row.startswith("VmRSS:"):
            return round(int(row.split()[1]) / 1024, 1)
    return 0.0


async def outage(line: Line, trouble: Trouble, figures: Figures, rate: float) -> Figures:
    """One outage on a line whose services are not started yet; `rate` in events a second."""
    seconds = figures.seconds
    load, observer = Load(line, 40, rate), Observer(line, figures)
    loop = asyncio.get_running_loop()
    begin = now() + int((BEFORE + 3) * SECOND)
    deadlines = [begin + int(seconds * SECOND * (place + 1) / (TIMED + 1)) for place in range(TIMED)]
    producer = AIOKafkaProducer(bootstrap_servers=line.kafka.split(","), acks="all", linger_ms=5)
    async with AsyncExitStack() as stack:
        await producer.start()
        stack.push_async_callback(producer.stop)
        await line.start(*SERVICES, *SERVICES)
        people = round((BEFORE + seconds + 5 + trouble.more) * rate / len(load.names)) + 5
        await load.begin(deadlines, people)
        sending = asyncio.create_task(load.send(producer))
        watching = asyncio.create_task(observer.run())
        stack.callback(watching.cancel)
        await load.make(BEFORE)
        await until(lambda: load.right(load.expected, ends=False), "the line works before anything happens")
        figures.rss_before = observer.rss()
        lines = {name_of(each): count_lines(each) for each in line.services}
        struck = loop.time()
        trouble.strike()
        stack.callback(trouble.mend)
        await load.make(seconds)
        figures.seconds = round(loop.time() - struck, 1)  # as long as the machine made of it
        figures.log_lines = {
            name_of(each): count_lines(each) - lines[name_of(each)] for each in line.services
        }
        owed = {name: set(people) for name, people in load.expected.items()}
        handled = await observer.events()
        await asyncio.to_thread(trouble.mend)
        back = loop.time()
        more = asyncio.create_task(load.make(5.0))
        patience = PATIENCE + seconds / 10

        async def another() -> bool:
            return await observer.events() > handled

        async def all_ready() -> None:
            await until(lambda: all(observer.ready.values()), "all are ready again", patience)
            figures.last_ready = round(loop.time() - back, 2)

        becoming = asyncio.create_task(all_ready())
        try:
            await until(another, "an event is handled", patience)
            figures.first_event = round(loop.time() - back, 2)
            await until(
                lambda: load.right(owed, ends=True), "the cards show what happened in the outage", patience
            )
            figures.last_card = round(loop.time() - back, 2)
            await becoming
            await asyncio.to_thread(trouble.afterwards)
            await load.make(trouble.more)
            await more
            load.finish()
            await sending
            await judge(line, load, figures)
        except AssertionError as error:
            figures.wrong.append(str(error))
        watching.cancel()
        figures.rss_after = observer.rss()
        figures.events = load.sent.events
        for service in line.services:
            if (code := await service.terminate()) != 0:
                figures.wrong.append(f"{name_of(service)} left with {code}")
        for task in (more, sending, becoming):
            task.cancel()
    return figures


async def judge(line: Line, load: Load, figures: Figures) -> None:
    """Every event once, every card right, the ledger balanced."""
    cards = line.simulator.model.cards
    await until(lambda: all(cards[name].target_state == 3 for name in load.names), "all have ended", 180)
    ledger = await line.settled()
    figures.wrong += load.sent.wrong(cards, ledger, now())
    figures.repeated_posts = sum(card.repeated_posts for card in cards.values())


def count_lines(service: Service) -> int:
    """Lines in its log so far, but for the one that each call to WeChat has."""
    log = service.log.read_bytes()
    return log.count(b"\n") - log.count(b'"event":"attempt"')


async def main(options: argparse.Namespace) -> int:
    """Engines, a line, an outage; 1 when anything was wrong."""
    with Kafka() as kafka, Postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        async with a_line(kafka.bootstrap, postgres.url(), "outage.", Path(folder)) as line:
            trouble = Trouble(kafka, postgres, options.of, options.manner)
            figures = Figures(options.of, options.manner, options.seconds)
            await outage(line, trouble, figures, options.rate)
            print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())
            if options.logs:
                for service in line.services:
                    print(f"--- {name_of(service)}\n{service.log.read_text()}")
    return 1 if figures.wrong or figures.not_alive else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--of", choices=["kafka", "postgres", "both"], default="both")
    parser.add_argument("--manner", choices=["down", "frozen"], default="down")
    parser.add_argument("--rate", type=float, default=10, help="events a second")
    parser.add_argument("--logs", action="store_true", help="print the processes' logs, too")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own producer sees the outage, too
    sys.exit(asyncio.run(main(parser.parse_args())))
