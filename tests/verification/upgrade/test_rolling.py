"""A rolling deploy under load: the release before and this one on one database, there and back again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.store.migrating import NEEDED
from tests.e2e.line import Line, Service, a_line, until
from tests.verification.upgrade.conftest import Release
from tests.verification.upgrade.load import Load, taken, watched

SERVICES = ("lifecycle", "clock", "dispatcher")
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path, release_before: Release
) -> AsyncIterator[Line]:
    """A line that the release before has set up."""
    async with a_line(
        kafka, postgres_database, topic_prefix, tmp_path, PYTHONPATH=str(release_before.tree)
    ) as line:
        del line.settings["PYTHONPATH"]
        connection = await asyncpg.connect(postgres_database.replace("+asyncpg", ""))
        at = await connection.fetchval("SELECT version_num FROM alembic_version")
        await connection.close()
        assert at == release_before.schema, "it was not the release before that set it up"
        yield line


@contextmanager
def before(line: Line, release: Release) -> Iterator[None]:
    """What is started meanwhile is of the release before."""
    line.settings["PYTHONPATH"] = str(release.tree)
    yield
    del line.settings["PYTHONPATH"]


async def stop(services: list[Service]) -> None:
    """As a deploy does: SIGTERM, and each leaves in order."""
    assert await asyncio.gather(*(service.terminate() for service in services)) == [0] * len(services)


async def more(load: Load, events: int = 150) -> None:
    """Let it rain for a while, and until it has all been taken in."""
    goal = load.events + events
    await until(lambda: load.events >= goal, f"{events} events were sent")

    async def taken_in() -> bool:
        return await taken(load.line.database) >= goal

    await until(taken_in, f"{goal} events were taken in")


async def test_a_rolling_deploy_there_and_back(line: Line, release_before: Release) -> None:
    """Migrated first; then old, both, new alone, finished; and back to the old. No card is ever wrong,
    nobody is posted twice, and nobody waits for the change of the schema."""
    with before(line, release_before):
        old = await line.start(*SERVICES)
    load = Load(line, random.Random(1))
    raining = asyncio.create_task(load.run())
    try:
        await _there_and_back(line, release_before, load, old)
        await raining
    finally:
        raining.cancel()
    ledger = await line.settled()
    assert load.wrong(ledger) == []


async def _there_and_back(line: Line, release: Release, load: Load, old: list[Service]) -> None:
    async with watched(line.database) as pauses:
        await more(load)
        usual, so_far = pauses.longest(), len(pauses.took)
        code, printed = await line.run("init")  # this release's, while the old one works
        assert (code, "livecard init --finish" in printed) == (0, True), printed
        print(
            f"while the schema changed a transaction took at most {pauses.longest(so_far) * 1000:.0f} ms, "
            f"before it at most {usual * 1000:.0f} ms"
        )
    await more(load)  # the old services on the new schema
    new = await line.start(*SERVICES)
    await more(load)  # side by side
    await stop(old)
    await more(load)  # the new ones alone
    code, printed = await line.run("init", "--finish")
    assert (code, "livecard init --finish" in printed) == (0, False), printed
    await more(load)
    with before(line, release):
        await line.start(*SERVICES)
    await stop(new)
    await more(load)  # the way back
    load.stop()


async def test_this_release_waits_for_its_schema(line: Line, release_before: Release) -> None:
    """Started before `init` it is not ready and says what to run; afterwards it is, by itself."""
    assert release_before.schema != NEEDED
    starting = asyncio.create_task(line.start("clock"))
    await until(lambda: line.services, "it is launched")
    (clock,) = line.services
    await until(lambda: clock.process and clock.answers(), "it serves")
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{clock.port}/readyz")
    assert answer.status_code == 503
    at = f"it is at {release_before.schema}, needed is {NEEDED}"
    assert f"run `livecard init` ({at})" in answer.text
    assert not starting.done()
    assert (await line.run("init"))[0] == 0
    await starting
    await stop([clock])
