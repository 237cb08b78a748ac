"""What every benchmark stands on: engines, the `livecard` processes of one line, and other processes.

Services are started by their command and told what to do by their environment, as in production.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import aiohttp

from benchmarks.database import Database, a_database, preloaded
from benchmarks.wechat import ROOT, Standin
from scripts.engines import Kafka, Postgres
from scripts.engines.process import free_ports

LIVECARD = Path(sys.executable).with_name("livecard")
APPID = "wxbench"
PATIENCE = 300.0
"""Seconds after which what never comes ends the benchmark."""
PROFILE = os.environ.get("BENCH_PROFILE", "")
"""A folder in which every service leaves a profile."""
TICKS = os.sysconf("SC_CLK_TCK")

T = TypeVar("T")


@dataclass(frozen=True)
class Engines:
    """Where Apache Kafka (bootstrap servers) and PostgreSQL (SQLAlchemy URL) are."""

    kafka: str
    postgres: str


@contextmanager
def engines() -> Iterator[Engines]:
    """Engines of our own with durable settings; everything shares the machine's cores."""
    kafka = Kafka(heap_mb=512, fast_start=False)
    with kafka, Postgres(durable=True, settings=preloaded()) as postgres:
        yield Engines(kafka.bootstrap, postgres.url("postgres"))


class Ended(Exception):
    """A process ended that should not have; the text has the end of its log."""


@dataclass
class Process:
    """A process that ends with us, and its log."""

    command: Sequence[str | Path]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        """Start it. LIVECARD_ variables of the shell do not reach it."""
        setpriv = shutil.which("setpriv")
        tie = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(*tie, *self.command), env={**kept, **self.env}, cwd=ROOT, stdout=log, stderr=log
            )
        return self

    def check(self) -> None:
        """Raise if it has ended."""
        if self.process is None or self.process.returncode is not None:
            code = self.process and self.process.returncode
            raise Ended(f"{self.command[-1]} ended with {code}: {self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-20:])

    def cpu(self) -> float:
        """Seconds of CPU that it has used, its threads' too; 0 where the system has no /proc."""
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return 0.0
        user, system = stat.read_text("ascii").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, if it runs, and wait until it is gone; its exit code."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()

    async def done(self) -> None:
        """Wait until it has ended by itself, with 0."""
        assert self.process is not None
        if await self.process.wait():
            self.check()


async def until(
    processes: Sequence[Process], condition: Callable[[], Awaitable[T]], what: str, every: float = 0.02
) -> T:
    """Ask until the answer is true, and return it; these processes must go on running."""
    limit = time.monotonic() + PATIENCE
    while not (answer := await condition()):
        for process in processes:
            process.check()
        if time.monotonic() > limit:
            raise TimeoutError(f"not after {PATIENCE:g} s: {what}")
        await asyncio.sleep(every)
    return answer


class Line:
    """One database, one prefix of topics, and the `livecard` processes on them."""

    def __init__(
        self, kafka: str, database: Database, wechat: str, folder: Path, settings: dict[str, str]
    ) -> None:
        self.kafka, self.database, self.folder = kafka, database, folder
        self.prefix = f"{database.name}."
        self.env = {
            "LIVECARD_KAFKA": kafka,
            "LIVECARD_DATABASE": database.url,
            "LIVECARD_TOPIC_PREFIX": self.prefix,
            "LIVECARD_WECHAT": wechat,
            "LIVECARD_APPS": f'{{"{APPID}": "secret"}}',
            **settings,
        }
        self.services: list[Process] = []

    async def start(self, *kinds: str) -> list[Process]:
        """Start a process of each kind, all at once, and wait until all are ready: a command of `livecard`'s,
        or a module of the benchmarks."""
        started = []
        for kind, port in zip(kinds, free_ports(len(kinds)), strict=True):
            env = {**self.env, "LIVECARD_HTTP": f"127.0.0.1:{port}"}
            file = f"{PROFILE}/{kind}-{port}.prof"
            profiler = [sys.executable, "-m", "cProfile", "-o", file] if PROFILE else []
            log = self.folder / f"{kind}-{port}.log"
            module = [sys.executable, "-m", kind] if "." in kind else []
            started.append(Process(module or [*profiler, LIVECARD, kind], log, env))
        self.services += started
        await asyncio.gather(*(self._ready(each) for each in started))
        return started

    async def _ready(self, service: Process) -> None:
        await service.start()
        async with aiohttp.ClientSession() as http:

            async def answers() -> bool:
                try:
                    async with http.get(f"http://{service.env['LIVECARD_HTTP']}/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until([service], answers, f"{service.command[-1]} is ready")

    async def applied(self, events: int) -> int:
        """Wait until so many events are applied; how many are."""

        async def enough() -> int:
            count = await self.database.applied()
            return count if count >= events else 0

        return await until(self.services, enough, f"{events} events are applied", 0.1)

    async def published(self) -> None:
        """Wait until no change is left in the outbox."""

        async def nothing() -> bool:
            return await self.database.unpublished() == 0

        await until(self.services, nothing, "every change is published", 0.1)

    async def end(self, *services: Process) -> None:
        """Let these drain; they are the line's no longer."""
        for service in services:
            self.services.remove(service)
        await asyncio.gather(*(service.end() for service in services))


@asynccontextmanager
async def a_line(
    engines: Engines, name: str, wechat: Standin | None = None, **settings: object
) -> AsyncIterator[Line]:
    """A line with its topics and tables and no process yet; `settings` without their LIVECARD_."""
    token = f"{name}_{uuid.uuid4().hex[:8]}"
    chosen = {f"LIVECARD_{key.upper()}": str(value) for key, value in settings.items()}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = await stack.enter_async_context(a_database(engines.postgres, token))
        url = wechat.url if wechat else "http://127.0.0.1:9"
        line = Line(engines.kafka, database, url, folder, chosen)
        await (await Process([LIVECARD, "init"], folder / "init.log", line.env).start()).done()
        try:
            yield line
        finally:
            hurry = signal.SIGTERM if PROFILE else signal.SIGKILL
            await asyncio.gather(*(service.end(hurry) for service in line.services))
