"""PostgreSQL with `members` partitioned by hash, by the very statements of docs/scaling.md."""

from __future__ import annotations

import re
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.engines.support import run_apart
from tests.store.benches import DAY, PostgresBench
from tests.store.conftest import prepare_postgres
from tests.store.support import Scene

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
(BLOCK,) = re.findall(r"^ *```sql\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)

INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'members' ORDER BY 1"


async def _partition(url: str) -> None:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    member = "(activity_id, group_openid, state, late) VALUES ('before', 'gp-1', 'done', false)"
    await connection.execute(f"INSERT INTO members {member}")
    before = await connection.fetch(INDEXES)
    await connection.execute(textwrap.dedent(BLOCK))
    assert await connection.fetch(INDEXES) == before, "a later index of members belongs to docs/scaling.md"
    assert await connection.fetchval("SELECT count(*) FROM members") == 1
    await connection.close()


@pytest.fixture(scope="module")
def partitioned(postgres_url: str) -> Iterator[str]:
    """The URL of a database of its own."""
    with prepare_postgres(postgres_url) as url:
        run_apart(_partition(url))
        yield url


@pytest.fixture
async def bench(partitioned: str) -> AsyncIterator[PostgresBench]:
    """It, empty."""
    made = PostgresBench(partitioned)
    await made.begin()
    yield made
    await made.close()


async def test_cards_become_right_and_only_old_ones_go(bench: PostgresBench) -> None:
    """Each member is told once, repeats count once, and pruning takes the members of what is old."""
    scene, activities = Scene(bench), [f"a-{each}" for each in range(40)]
    await scene.open(*activities)
    for activity in activities:
        await scene.complete(activity, "gp-1", "gp-2")
        await scene.complete(activity, "gp-2", "gp-3")
    claimed = await scene.claim()
    assert sorted(each.card.activity_id for each in claimed) == sorted(activities)
    for activity in activities:
        assert await scene.owed(activity) == ["gp-1", "gp-2", "gp-3"]
    await scene.settle(*(scene.result(each) for each in claimed))
    assert [activity for activity in activities if await scene.owed(activity)] == []
    assert await bench.admin.fetchval("SELECT count(DISTINCT tableoid) FROM members") > 8
    await bench.advance(2 * 86_400)
    await scene.tick()
    await scene.open("young")
    await scene.complete("young", "gp-1")
    while any((await bench.store.prune(inbox=DAY, attempts=DAY, activities=0, limit=100)).values()):
        pass
    left = await bench.admin.fetch("SELECT activity_id, group_openid FROM members")
    assert [tuple(row) for row in left] == [("young", "gp-1")]
    await scene.balance()


async def test_a_statement_goes_to_the_partition_of_its_activity(bench: PostgresBench) -> None:
    plan = await bench.admin.fetch("EXPLAIN SELECT * FROM members WHERE activity_id = ANY(ARRAY['a-1'])")
    assert len({found for row in plan for found in re.findall(r"members_\d+", row[0])}) == 1
