"""Where the tests get their engines from, and the account of it at the end of a run."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from scripts.engines import EngineError, Kafka, PgBouncer, Postgres
from scripts.engines.kafka import missing as kafka_missing
from scripts.engines.pgbouncer import Mode
from scripts.engines.pgbouncer import missing as pgbouncer_missing
from scripts.engines.postgres import missing as postgres_missing

REQUIRED = os.environ.get("LIVECARD_REQUIRE_ENGINES", "") not in {"", "0"}


@dataclass
class Source:
    """One engine as the tests see it: named by a variable, or startable here, or missing."""

    title: str
    variable: str
    missing: Callable[[], str | None]
    make: Callable[[], Kafka | Postgres]
    ask: Callable[[], tuple[str, str]] | None = None
    """Side by side (`-n`): asks the leader, who comes to an address or a problem for all."""
    address: str = ""
    problem: str = ""
    story: str = "not used"
    started: list[Kafka | Postgres] = field(default_factory=list)

    def outlook(self) -> str:
        """Say before the run what a test that needs the engine will meet."""
        if os.environ.get(self.variable):
            return f"named by {self.variable}"
        reason = self.missing()
        return f"MISSING: {reason}" if reason else "started when the first test asks for it"

    def obtain(self) -> str:
        """Return the engine's address, starting it if need be; skip, or fail where engines are required."""
        self.reach()
        if self.problem and REQUIRED:
            pytest.fail(
                f"{self.title} is required by LIVECARD_REQUIRE_ENGINES: {self.problem}", pytrace=False
            )
        if self.problem:
            pytest.skip(f"{self.title.upper()} IS MISSING: {self.problem}")
        return self.address

    def reach(self) -> None:
        """Come to an address or a problem, unless there is one."""
        if self.address or self.problem:
            return
        if named := os.environ.get(self.variable):
            self.story = f"used, named by {self.variable} ({without_password(named)})"
            self.address = named
        elif self.ask:
            self.address, self.problem = self.ask()
        else:
            self._start()

    def _start(self) -> None:
        engine = self.make()
        try:
            engine.start()
        except EngineError as error:
            engine.destroy()
            self.problem, self.story = str(error), f"MISSING: {error}"
            return
        self.started.append(engine)
        self.address = engine.bootstrap if isinstance(engine, Kafka) else engine.url()
        self.story = f"used, started by the tests ({without_password(self.address)})"

    def close(self) -> None:
        """Remove what was started."""
        for engine in self.started:
            engine.destroy()
        self.started.clear()


def without_password(address: str) -> str:
    """Return an address or URL without credentials, fit for a report."""
    return address.rpartition("@")[2] if "@" in address else address


class Desk:
    """Where workers ask their leader for an engine, so that it starts once, and only when a test needs it.

    The thread that answers also starts and stops the engines: they are tied to it.
    """

    def __init__(self, known: dict[str, Source]) -> None:
        self._known = known
        self._key = secrets.token_bytes()
        self._listener = Listener(authkey=self._key)
        self.place = str(self._listener.address), self._key.hex()
        self._thread = threading.Thread(target=self._serve, name="engines", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener:
            while self._listen():
                pass
        for source in self._known.values():
            source.close()

    def _listen(self) -> str:
        """Answer one question; return what was asked, empty when it was to close."""
        try:
            with self._listener.accept() as link:
                name: str = link.recv()
                if name:
                    self._known[name].reach()
                    link.send((self._known[name].address, self._known[name].problem))
        except (OSError, EOFError, AuthenticationError):
            return "somebody who is gone"
        return name

    def close(self) -> None:
        """Stop the engines and listen no more."""
        with Client(self.place[0], authkey=self._key) as link:
            link.send("")
        self._thread.join()


def ask(place: tuple[str, str], name: str) -> tuple[str, str]:
    """Ask a desk for an engine: its address, or the problem."""
    with Client(place[0], authkey=bytes.fromhex(place[1])) as link:
        link.send(name)
        answer: tuple[str, str] = link.recv()
    return answer


def sources(desk: tuple[str, str] | None = None) -> dict[str, Source]:
    """Return the engines that the tests know, those of a desk where there is one."""
    known = {
        "kafka": Source("Apache Kafka", "LIVECARD_TEST_KAFKA", kafka_missing, Kafka),
        "postgres": Source("PostgreSQL", "LIVECARD_TEST_POSTGRES", postgres_missing, Postgres),
    }
    if desk:
        for name, source in known.items():
            source.ask = partial(ask, desk, name)
    return known


@contextmanager
def pooled(url: str, mode: str, *, sessions: int = 20) -> Iterator[str]:
    """The same database through a PgBouncer in this mode, with so many sessions of the server."""
    if reason := pgbouncer_missing():
        if REQUIRED:
            pytest.fail(f"PgBouncer is required by LIVECARD_REQUIRE_ENGINES: {reason}", pytrace=False)
        pytest.skip(f"PGBOUNCER IS MISSING: {reason}")
    parts = urlsplit(url)
    kind: Mode = "transaction" if mode == "transaction" else "session"
    with PgBouncer(parts.port or 5432, kind, sessions=sessions) as pooler:
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{pooler.port}").geturl()


def run_apart(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine on a loop in a thread of its own, so that sync and async tests can use one fixture."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def administer(url: str, statement: str) -> None:
    """Run one statement on the server of a SQLAlchemy URL, outside any transaction."""
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def sibling(url: str, database: str) -> str:
    """Return the URL of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()
