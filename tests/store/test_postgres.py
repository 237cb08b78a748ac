"""What only PostgreSQL can do to us: killed connections, refused texts, sleeping holders, plans."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import pytest

from contracts.times import SECOND
from services.store import statements
from services.store.dialect import Dialect
from services.store.open import migrate, open_store
from services.store.ports import StoreRejected, StoreUnavailable
from services.store.rows import Attempt, Writes
from tests.store.support import DAY, PostgresBench, Scene, rolled_back

pytestmark = pytest.mark.postgres


async def _kill_all(bench: PostgresBench) -> int:
    killed = await bench.admin.fetchval(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'livecard'"
    )
    return int(killed)


async def test_a_connection_killed_inside_a_transaction_is_unavailable_and_heals(
    postgres: PostgresBench,
) -> None:
    """The transaction is lost as a whole; the next one works."""
    scene = Scene(postgres)
    with pytest.raises(StoreUnavailable):
        await _killed_halfway(postgres)
    assert await postgres.store.show("a") is None
    await scene.open("a")
    await scene.balance()


async def _killed_halfway(bench: PostgresBench) -> None:
    async with bench.store.transaction() as tx:
        await tx.lock(["a"])
        assert await _kill_all(bench) == 1
        await tx.write(Writes(counters={"x": 1}))


async def test_a_connection_killed_before_the_commit_is_unavailable(postgres: PostgresBench) -> None:
    """Nobody may take the batch for committed."""
    with pytest.raises(StoreUnavailable):
        await _killed_at_the_end(postgres)
    assert (await postgres.store.totals())[0] == {}


async def _killed_at_the_end(bench: PostgresBench) -> None:
    async with bench.store.transaction() as tx:
        await tx.write(Writes(counters={"x": 1}))
        await _kill_all(bench)


async def test_connections_killed_in_the_pool_heal_by_themselves(postgres: PostgresBench) -> None:
    """A restart of the server: at most as many failures as there were connections, and no other error."""
    together = [postgres.store.ping() for _ in range(8)]
    await asyncio.gather(*together)
    assert await _kill_all(postgres) >= 1
    failures = 0
    for _ in range(20):
        try:
            await postgres.store.ping()
            await Scene(postgres).counters()
        except StoreUnavailable:
            failures += 1
    assert failures <= 8
    await postgres.store.ping()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """A refused connection, from every side; the password is not told."""
    store = await open_store("postgresql+asyncpg://nobody:hidden@127.0.0.1:1/none")
    for attempt in (store.ping, lambda: store.candidates(1, 1), lambda: _see(store)):
        with pytest.raises(StoreUnavailable) as caught:
            await attempt()
        assert "hidden" not in f"{caught.value}"
    await store.close()


async def test_a_failure_to_connect_is_never_the_datas_fault(postgres: PostgresBench) -> None:
    """Whatever the driver dislikes about the connection, no event may be dead-lettered for it."""
    for options in ("ssl=require", "direct_tls=x"):
        store = await open_store(f"{postgres.url}?{options}")
        for attempt in (store.ping, lambda: _see(store)):  # noqa: B023 (called in this round)
            with pytest.raises(StoreUnavailable):
                await attempt()
        await store.close()


async def test_half_a_character_is_rejected(postgres: PostgresBench) -> None:
    """A lone surrogate has no UTF-8."""
    with pytest.raises(StoreRejected):
        await _see(postgres.store, "a\ud800")


async def test_a_text_with_a_nul_is_rejected(postgres: PostgresBench) -> None:
    """PostgreSQL keeps no NUL: the data is to blame, so the batch is bisected and not tried for ever."""
    for writes in (Writes(apps=["wx\0"]), Writes(attempts=[Attempt("a", 1, 1, 1, 1, 1, 1, "ok", 0, "\0")])):
        with pytest.raises(StoreRejected):
            await _write(postgres, writes)
    with pytest.raises(StoreRejected):
        await _see(postgres.store, "a\0")
    await _see(postgres.store, "a")


async def _write(bench: PostgresBench, writes: Writes) -> None:
    async with bench.store.transaction() as tx:
        await tx.write(writes)


async def test_a_number_out_of_range_is_rejected(postgres: PostgresBench) -> None:
    """Whoever refuses it, the driver or the server."""
    with pytest.raises(StoreRejected):
        await _write(postgres, Writes(counters={"x": 1 << 63}))
    await _write(postgres, Writes(counters={"x": (1 << 63) - 1}))
    with pytest.raises(StoreRejected):
        await _write(postgres, Writes(counters={"x": 1}))


async def test_a_process_frozen_inside_a_transaction_blocks_nobody_for_long(postgres: PostgresBench) -> None:
    """The server ends it; whoever waits meanwhile is told to try again, or gets the lock."""
    scene, other = Scene(postgres), await postgres.another()
    await scene.open("a")
    with pytest.raises(StoreUnavailable):
        await _freeze(postgres, other)
    await scene.complete("a", "m")
    assert (await scene.card("a")).revision == 2


async def _freeze(bench: PostgresBench, other: Any) -> None:
    """Hold a lock without a word, as a stopped process does; return once somebody else has it."""
    async with bench.store.transaction() as tx:
        await tx.lock(["a"])
        async with asyncio.timeout(30):
            while not await _locked(other):
                pass
        await tx.now()


async def _locked(store: Any) -> bool:
    try:
        async with store.transaction() as tx:
            await tx.lock(["a"])
    except StoreUnavailable:
        return False
    return True


async def test_a_pool_that_is_used_up_is_unavailable(
    postgres: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a connection is bounded too."""
    store = await postgres.another(pool=1)
    store.engine.sync_engine.pool._timeout = 0.2  # type: ignore[attr-defined]  # the SQL store's
    async with rolled_back(store) as tx:
        await tx.now()
        with pytest.raises(StoreUnavailable, match="no connection"):
            await store.next_due()


async def test_migrating_twice_and_two_at_once(postgres_database: str) -> None:
    """Every replica's init container may do so; the second finds nothing to do."""
    program = (
        "import asyncio, sys; from services.store.open import migrate; asyncio.run(migrate(sys.argv[1]))"
    )
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, postgres_database)
        for _ in range(3)
    ]
    assert [await process.wait() for process in started] == [0, 0, 0]
    await migrate(postgres_database)
    store = await open_store(postgres_database)
    await store.ping()
    assert await store.lease_shards("r", SECOND) == list(range(16))
    await store.close()


async def test_the_clock_is_the_servers_and_moves_within_a_transaction(postgres_database: str) -> None:
    """`clock_timestamp()`, not the transaction's start."""
    await migrate(postgres_database)
    store = await open_store(postgres_database)
    async with store.transaction() as tx:
        first = await tx.now()
        assert await tx.now() > first
    await store.close()


ACTIVITIES, BEHIND = 200_000, 50_000
FILL = f"""
    INSERT INTO activities (activity_id, state, appid, revision, settled, expires_at, due_at, seen_at,
      behind_since, retry_at)
    SELECT 'a' || n, 'open', CASE WHEN n <= {BEHIND} THEN 'closed' ELSE 'wx' || n % 10 END,
      CASE WHEN n <= {BEHIND} OR n % 500 = 0 THEN 2 ELSE 1 END, 1, $1::bigint + {DAY},
      $1::bigint + n::bigint * 7919 % {ACTIVITIES} * 1000,
      0, CASE WHEN n <= {BEHIND} OR n % 500 = 0 THEN $1::bigint END, 0
    FROM generate_series(1, {ACTIVITIES}) n"""


async def _plan(bench: PostgresBench, source: str, **parameters: Any) -> tuple[str, int]:
    """The plan as text, and how many pages it touched."""
    text = str(Dialect(postgres=True).statement("explained", source).clause)
    for name, value in parameters.items():
        text = text.replace(f":{name}", str(value))
    lines = await bench.admin.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}")
    plan = "\n".join(line[0] for line in lines)
    pages = [int(part.split("=")[1]) for line in lines if "Buffers:" in line[0] for part in line[0].split()
             if part.startswith(("hit=", "read="))]  # fmt: skip
    return plan, pages[0] if pages else 0


@pytest.fixture
async def crowded(postgres: PostgresBench) -> PostgresBench:
    """200,000 activities, 50,000 of them behind at a closed gate, 300 behind at open ones."""
    now = await postgres.admin.fetchval(f"SELECT {Dialect(postgres=True).now}")
    await postgres.admin.execute(FILL, now)
    await postgres.admin.execute(
        "INSERT INTO gates (appid, closed_until) SELECT 'wx' || n, 0 FROM generate_series(0, 9) n"
    )
    await postgres.admin.execute("INSERT INTO gates (appid, closed_until) VALUES ('closed', $1)", now + DAY)
    await postgres.admin.execute("ANALYZE activities; ANALYZE gates")
    return postgres


async def test_the_sweep_does_not_read_those_behind_a_closed_gate(crowded: PostgresBench) -> None:
    """By the partial index, app by app: neither the true cards nor the 50,000 waiting ones are read."""
    plan, pages = await _plan(
        crowded, statements.CANDIDATES_POSTGRES, limit=100, per_app=100, repair=30 * SECOND
    )
    assert "activities_ready" in plan
    assert "Seq Scan on activities" not in plan
    assert "Seq Scan on gates" in plan or "gates_pkey" in plan
    total = await crowded.admin.fetchval("SELECT relpages FROM pg_class WHERE relname = 'activities'")
    assert pages < total / 4, plan


async def test_the_clock_reads_only_what_is_due(crowded: PostgresBench) -> None:
    """By the partial index on `due_at`, in its order, without a sort of everything."""
    plan, pages = await _plan(crowded, statements.TRANSACTION["lock_due"], limit=100)
    assert "activities_due" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    assert pages < 1_000, plan


@pytest.mark.parametrize("name", ["lock_expired", "old_activities"])
async def test_housekeeping_reads_only_what_is_old(crowded: PostgresBench, name: str) -> None:
    """Their partial indexes too."""
    source = {**statements.TRANSACTION, **statements.UPKEEP}[name]
    plan, _ = await _plan(crowded, source, limit=100, age=DAY)
    assert "Seq Scan" not in plan
    assert "activities_" in plan


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
    plan, pages = await _plan(postgres, statements.READS["backlog"])
    total = await postgres.admin.fetchval("SELECT relpages FROM pg_class WHERE relname = 'outbox'")
    assert pages < total / 2, plan


async def test_counting_what_is_due_reads_only_what_is_due(crowded: PostgresBench) -> None:
    """Though the planner cannot know how little that is."""
    plan, _ = await _plan(crowded, statements.READS["backlog"])
    assert "Seq Scan on activities" not in plan, plan


async def test_sessions_compile_nothing(postgres: PostgresBench) -> None:
    """The sweep's estimated cost is high, its true cost low: compiling takes longer than the answer."""
    async with open_connection(postgres) as connection:
        assert (await connection.exec_driver_sql("SHOW jit")).scalar_one() == "off"


def open_connection(bench: PostgresBench) -> Any:
    """One of the store's own connections."""
    store: Any = bench.store
    return store.engine.connect()


async def test_an_unmigrated_database_is_told_with_what_to_do(postgres_database: str) -> None:
    """From every side: the text names the command."""
    store = await open_store(postgres_database)
    for attempt in (store.ping, lambda: store.candidates(1, 1), lambda: _see(store)):
        with pytest.raises(StoreUnavailable, match="livecard init"):
            await attempt()
    connection = await asyncpg.connect(postgres_database.replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE alembic_version (version_num text)")
    await connection.execute("INSERT INTO alembic_version VALUES ('0000')")
    await connection.close()
    with pytest.raises(StoreUnavailable, match="it is at 0000"):
        await store.ping()
    await store.close()


async def _see(store: Any, name: str = "a") -> None:
    async with store.transaction() as tx:
        await tx.lock([name])
