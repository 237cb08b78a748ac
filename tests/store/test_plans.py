"""Which indexes PostgreSQL takes for what is asked again and again, and which it need not touch."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts.times import SECOND
from services.store import sql_pages, statements
from services.store.dialect import Dialect, Statement
from services.store.ports import Tx
from services.store.rows import Progress, Writes
from statemachine.card import CALLING, DUE, DeliveryRules, Phase, phase
from statemachine.delivery import raise_revision
from tests.store.benches import DAY, PostgresBench, rolled_back
from tests.store.support import Scene

pytestmark = pytest.mark.postgres

ACTIVITIES, BEHIND = 200_000, 100_000
FILL = f"""
    INSERT INTO activities (activity_id, state, appid, revision, settled, expires_at, due_at, seen_at,
      behind_since, retry_at, attempt_at, ending)
    SELECT 'a' || n, CASE WHEN n % 2 = 0 THEN 'ended' ELSE 'open' END,
      CASE WHEN n <= {BEHIND} THEN 'closed' ELSE 'wx' || n % 10 END,
      CASE WHEN n <= {BEHIND} OR n % 500 = 0 THEN 2 ELSE 1 END, 1, $1::bigint + {DAY},
      $1::bigint + n::bigint * 7919 % {ACTIVITIES} * 1000,
      0, CASE WHEN n <= {BEHIND} OR n % 500 = 0 THEN $1::bigint END, 0,
      CASE WHEN n <= {BEHIND} OR n % 500 = 0 THEN $1::bigint END,
      n % 2 = 0 AND (n <= {BEHIND} OR n % 500 = 0)
    FROM generate_series(1, {ACTIVITIES}) n"""


async def _plan(bench: PostgresBench, source: str, **parameters: Any) -> tuple[str, int]:
    """The plan as text, and how many pages it touched."""
    text = str(Dialect(postgres=True).statement("explained", source).clause)
    for name, value in parameters.items():
        literal = f"ARRAY{value}" if isinstance(value, list) else str(value)
        text = re.sub(rf"(?<!:):{name}\b", literal, text)
    lines = await bench.admin.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}")
    plan = "\n".join(line[0] for line in lines)
    pages = [int(part.split("=")[1]) for line in lines if "Buffers:" in line[0] for part in line[0].split()
             if part.startswith(("hit=", "read="))]  # fmt: skip
    return plan, pages[0] if pages else 0


@pytest.fixture
async def crowded(postgres: PostgresBench) -> PostgresBench:
    """200,000 activities, 100,000 of them behind at a closed gate, 200 at open ones; half of all ended."""
    now = await postgres.admin.fetchval(f"SELECT {Dialect(postgres=True).now}")
    await postgres.admin.execute(FILL, now)
    await postgres.admin.execute(
        "INSERT INTO gates (appid, closed_until) SELECT 'wx' || n, 0 FROM generate_series(0, 9) n"
    )
    await postgres.admin.execute(
        "INSERT INTO gates (appid, closed_until, reason) VALUES ('closed', $1, 'daily_limit')", now + DAY
    )
    await postgres.admin.execute("ANALYZE activities; ANALYZE gates")
    return postgres


APPS = [*(f"wx{place}" for place in range(10)), "closed"]
LONGEST = {"longest": DeliveryRules().longest_wait, "closing": DeliveryRules().longest_closing}


async def test_a_claim_does_not_read_those_behind_a_closed_gate(crowded: PostgresBench) -> None:
    """By the partial index, app by app: neither those in sync nor the 100,000 waiting ones are read."""
    rooms = {"appid": APPS, "room": [100] * len(APPS)}
    plan, pages = await _plan(crowded, statements.POSTGRES["claim"], limit=100, narrow=4, **rooms, **LONGEST)
    assert "Index Scan using activities_attempt" in plan
    assert "Seq Scan on activities" not in plan
    assert "Seq Scan on gates" in plan or "gates_pkey" in plan
    total = await crowded.admin.fetchval("SELECT relpages FROM pg_class WHERE relname = 'activities'")
    assert pages < total / 4, plan


async def test_finding_nothing_is_cheap(crowded: PostgresBench) -> None:
    """What an idle dispatcher asks every second, while 100,000 cards wait at a closed gate."""
    await crowded.admin.execute(
        "UPDATE activities SET attempt_at = NULL, behind_since = NULL, ending = false WHERE appid <> 'closed'"
    )
    await crowded.admin.execute("VACUUM ANALYZE activities")
    rooms = {"appid": APPS, "room": [64] * len(APPS)}
    plan, pages = await _plan(crowded, statements.POSTGRES["claim"], limit=64, narrow=4, **rooms, **LONGEST)
    assert pages < 200, plan
    plan, pages = await _plan(
        crowded, statements.TRANSACTION["next_attempt"], appid=APPS, ids=APPS, **LONGEST
    )
    assert "Seq Scan on activities" not in plan, plan
    assert pages < 200, plan


async def test_what_lies_too_far_ahead_is_found_at_the_other_end_of_the_index(crowded: PostgresBench) -> None:
    """The database's clock was set back: 100,000 cards of one app, of which a claim has room for 64."""
    await crowded.admin.execute(
        f"UPDATE activities SET attempt_at = attempt_at + {DAY} / 48 WHERE appid = 'closed'; "
        "UPDATE gates SET closed_until = 0, reason = ''"
    )
    await crowded.admin.execute("VACUUM ANALYZE activities")
    rooms = {"appid": APPS, "room": [64] * len(APPS)}
    plan, pages = await _plan(crowded, statements.POSTGRES["claim"], limit=64, narrow=4, **rooms, **LONGEST)
    assert "Seq Scan on activities" not in plan, plan
    assert pages < 2_000, plan


@pytest.mark.parametrize("found", [0, 400])
async def test_what_the_release_before_left_is_found_by_its_index(crowded: PostgresBench, found: int) -> None:
    """Asked at each poll. The planner cannot know how few there are: that a card is undelivered and that it
    wants no dispatcher look independent to it."""
    await crowded.admin.execute(
        "UPDATE activities SET attempt_at = NULL WHERE activity_id IN "
        f"(SELECT activity_id FROM activities WHERE behind_since IS NOT NULL LIMIT {found})"
    )
    await crowded.admin.execute("VACUUM ANALYZE activities")
    plan, pages = await _plan(crowded, statements.TRANSACTION["unscheduled"], limit=100)
    assert "activities_unscheduled" in plan, plan
    assert pages < 1_500, plan


async def test_the_clock_reads_only_what_is_due(crowded: PostgresBench) -> None:
    """By the partial index on app and `due_at`, in its order; what is sorted is apps."""
    plan, pages = await _plan(crowded, statements.POSTGRES["lock_due"], limit=100)
    assert "activities_due_of_app" in plan
    assert "Seq Scan on activities" not in plan
    assert plan.count("Sort Key") == 1, plan
    assert pages < 1_000, plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("unscheduled", "activities_unscheduled"),
        ("old_activities", "activities_expiry"),
        ("unopened_activities", "activities_unopened"),
        ("next_due", "activities_due"),
        ("stale_parked", "parked_since"),
    ],
)
async def test_housekeeping_reads_only_what_is_old(crowded: PostgresBench, name: str, index: str) -> None:
    """Their partial indexes too, and few pages of them."""
    source = {**statements.TRANSACTION, **statements.READS, **statements.UPKEEP}[name]
    await crowded.admin.execute(
        "INSERT INTO parked (activity_id, source, id, parked_at, record) "
        "SELECT 'a' || n, '/s', 'e' || n, n, '{}' FROM generate_series(1, 50000) n; ANALYZE parked"
    )
    plan, pages = await _plan(crowded, source, limit=100, age=DAY, before=100)
    assert "Seq Scan" not in plan, plan
    assert f"{index} on" in plan, plan
    assert pages < 1_000, plan


async def _heap_only(bench: PostgresBench, work: Callable[[Tx], Awaitable[object]]) -> tuple[int, int]:
    """How many updates of activities one transaction made, and how many that touched no index."""
    count = (
        "SELECT pg_stat_get_xact_tuples_updated(c.oid), pg_stat_get_xact_tuples_hot_updated(c.oid) "
        "FROM pg_class c WHERE relname = 'activities'"
    )
    async with rolled_back(bench.store) as tx:
        inside: Any = tx
        ask = Statement("count", count, ())
        (before,) = await inside._run._run(ask, {})  # not reported yet, of this session
        await work(tx)
        (after,) = await inside._run._run(ask, {})
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize("where", [DUE, CALLING])
async def test_what_happens_most_touches_no_index(postgres: PostgresBench, where: Phase) -> None:
    """A completion of a card that is due already, or called for: a heap-only update."""
    scene = Scene(postgres)
    await scene.open("a")
    await scene.complete("a", "m")
    if where is CALLING:
        await scene.claim("a")
    assert phase(await scene.card("a")) is where

    async def completion(tx: Tx) -> None:
        activity, card = (await tx.lock(["a"]))["a"]
        activity.done, activity.revision = 2, 3
        step = raise_revision(card, activity.state, 3, postgres.now + SECOND)
        await tx.write(Writes(progress=[Progress(activity, step.card)]))

    assert await _heap_only(postgres, completion) == (1, 1)


async def test_a_pruner_waits_for_nobody(postgres: PostgresBench) -> None:
    """Rows that another transaction holds, a pruner's above all, are left for later."""
    scene = Scene(postgres)
    await scene.feed(*(scene.opened(f"a{n}") for n in range(4)))
    await postgres.advance(2 * 86_400)
    async with postgres.admin.transaction():
        await postgres.admin.execute("SELECT 1 FROM inbox WHERE id IN ('e1', 'e2') FOR UPDATE")
        pruned = await postgres.store.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=3)
    assert pruned["inbox"] == 2
    assert await postgres.admin.fetchval("SELECT count(*) FROM inbox") == 2


@pytest.mark.parametrize(("table", "time"), [("inbox", "received_at"), ("attempts", "at")])
async def test_pruning_reads_only_what_it_deletes(postgres: PostgresBench, table: str, time: str) -> None:
    """By the index on time and by the rows' places: never the whole table, however large."""
    columns = {
        "inbox": "source, id, activity_id, outcome, reason, received_at",
        "attempts": "activity_id, revision, fence, at, duration, target_state, members, outcome, errmsg, rid",
    }[table]
    values = {
        "inbox": "'/s', 'e' || n, 'a', 'applied', '', n",
        "attempts": "'a' || n, 1, 1, n, 1, 1, 1, 'ok', '', ''",
    }[table]
    await postgres.admin.execute(
        f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, 100000) n; ANALYZE {table}"
    )
    plan, pages = await _plan(postgres, statements.UPKEEP[f"prune_{table}"], age=DAY, limit=500)
    assert "Tid Scan" in plan
    assert f"Index Scan using {table}_{'received' if table == 'inbox' else 'at'}" in plan
    assert await postgres.admin.fetchval(f"SELECT min({time}) FROM {table}") == 501
    assert pages < 4 * 500, plan


async def test_the_age_of_the_outbox_is_its_first_rows(postgres: PostgresBench) -> None:
    """Asked for by every process again and again: an outage's backlog is not read for it."""
    await postgres.admin.execute(
        "INSERT INTO outbox (activity_id, topic, id, body, shard, created_at) "
        "SELECT 'a' || n, 'changes', 'c', repeat('x', 400), n % 16, n FROM generate_series(1, 100000) n; "
        "ANALYZE outbox"
    )
    plan, pages = await _plan(postgres, statements.READS["backlog"], closing=DAY)
    total = await postgres.admin.fetchval("SELECT relpages FROM pg_class WHERE relname = 'outbox'")
    assert pages < total / 2, plan


async def test_counting_what_is_due_reads_only_what_is_due(crowded: PostgresBench) -> None:
    """Though the planner cannot know how little that is."""
    plan, _ = await _plan(crowded, statements.READS["backlog"], closing=DAY)
    assert "Seq Scan on activities" not in plan, plan


@pytest.mark.parametrize("apps", [["wx3"], APPS])
async def test_listing_what_is_not_in_sync_reads_one_page(crowded: PostgresBench, apps: list[str]) -> None:
    """By the partial index, app by app, from wherever one has come to: neither those in sync nor the 100,000
    of another app are read."""
    since = await crowded.admin.fetchval("SELECT behind_since FROM activities WHERE activity_id = 'a500'")
    for start, after in ((-1, "''"), (since, "'a5'"), (since, "'zzz'")):
        source = sql_pages.OUT_OF_SYNC_POSTGRES
        plan, pages = await _plan(crowded, source, appid=apps, limit=101, since=start, after=after)
        assert "activities_not_in_sync" in plan, plan
        assert "Seq Scan on activities" not in plan, plan
        assert pages < 1_500, plan


@pytest.mark.parametrize("choose", ["listed", "everyone"])
async def test_who_is_missing_is_read_by_the_page(postgres: PostgresBench, choose: str) -> None:
    """However many are missing in the activity and are known in its room."""
    await postgres.admin.execute(
        "INSERT INTO activities (activity_id, state, appid, choose, opengid, seen_at) "
        f"VALUES ('a', 'open', 'wx1', '{choose}', 'g1', 0); "
        "INSERT INTO members (activity_id, group_openid, state, late) "
        "SELECT 'a', 'm' || n, CASE WHEN n % 3 = 0 THEN 'done' ELSE 'pending' END, false "
        "FROM generate_series(1, 50000) n; "
        "INSERT INTO bindings (appid, room_id, openid, single, group_openid, bound_at) "
        "SELECT 'wx1', 'g1', 'o' || n, false, 'm' || n, 0 FROM generate_series(1, 50000) n"
    )
    await postgres.admin.execute("VACUUM ANALYZE activities, members, bindings")
    for after in ("''", "'m3'"):
        plan, pages = await _plan(postgres, sql_pages.PAGES["missing_page"], id="'a'", after=after, limit=101)
        assert "Seq Scan on members" not in plan, plan
        assert "Seq Scan on bindings" not in plan, plan
        assert pages < 1_500, plan
