"""Where the tests get their engines from, and the account of it at the end of a run."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from scripts.engines import EngineError, Kafka, Postgres
from scripts.engines.kafka import missing as kafka_missing
from scripts.engines.postgres import missing as postgres_missing

REQUIRED = os.environ.get("LIVECARD_REQUIRE_ENGINES", "") not in {"", "0"}


@dataclass
class Source:
    """One engine as the tests see it: named by a variable, or startable here, or missing."""

    title: str
    variable: str
    missing: Callable[[], str | None]
    make: Callable[[], Kafka | Postgres]
    address: str = ""
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
        if self.address:
            return self.address
        if named := os.environ.get(self.variable):
            self.story = f"used, named by {self.variable} ({without_password(named)})"
            self.address = named
            return named
        engine = self.make()
        try:
            engine.start()
        except EngineError as error:
            engine.destroy()
            self.story = f"MISSING: {error}"
            if REQUIRED:
                pytest.fail(f"{self.title} is required by LIVECARD_REQUIRE_ENGINES: {error}", pytrace=False)
            pytest.skip(f"{self.title.upper()} IS MISSING: {error}")
        self.started.append(engine)
        self.address = engine.bootstrap if isinstance(engine, Kafka) else engine.url()
        self.story = f"used, started by the tests ({without_password(self.address)})"
        return self.address

    def offer(self) -> None:
        """Obtain it for processes begun after this, by its variable; where it is missing they say so."""
        with suppress(pytest.fail.Exception, pytest.skip.Exception):
            os.environ[self.variable] = self.obtain()

    def close(self) -> None:
        """Remove what was started."""
        for engine in self.started:
            engine.destroy()
        self.started.clear()


def without_password(address: str) -> str:
    """Return an address or URL without credentials, fit for a report."""
    return address.rpartition("@")[2] if "@" in address else address


def sources() -> dict[str, Source]:
    """Return the engines that the tests know."""
    return {
        "kafka": Source("Apache Kafka", "LIVECARD_TEST_KAFKA", kafka_missing, Kafka),
        "postgres": Source("PostgreSQL", "LIVECARD_TEST_POSTGRES", postgres_missing, Postgres),
    }


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
