"""What only PostgreSQL can do to us: killed connections, refused texts, sleeping holders, plans."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import asyncpg
import pytest

from contracts.times import SECOND
from scripts.patience import PATIENCE
from services.store import open as open_module
from services.store.open import migrate, open_store
from services.store.ports import Store, StoreLost, StoreRejected, StoreUnavailable
from services.store.rows import Attempt, Writes
from services.store.sql import SLOTS_OF_A_PROCESS, SqlStore
from tests.store.benches import PostgresBench, rolled_back
from tests.store.support import Scene

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


async def test_a_statement_without_an_answer_in_time_loses_the_connection(
    postgres: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the database's failure, not that of whoever works in the transaction; the next one works."""
    await Scene(postgres).open("a")
    monkeypatch.setattr(open_module, "COMMAND", 0.3)
    hurried = await postgres.another()
    async with postgres.store.transaction() as tx:
        await tx.lock(["a"])
        with pytest.raises(StoreLost, match="no answer any more"):
            await _lock(hurried, "a")
    await _lock(hurried, "a")


async def _lock(store: Store, name: str) -> None:
    async with store.transaction() as tx:
        await tx.lock([name])


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
    for attempt in (store.ping, lambda: store.next_due(), lambda: _see(store)):
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
    for _ in range(SLOTS_OF_A_PROCESS):
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
        async with asyncio.timeout(PATIENCE):
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


async def test_sessions_compile_nothing(postgres: PostgresBench) -> None:
    """A claim's estimated cost is high, its true cost low: compiling takes longer than the answer."""
    async with open_connection(postgres) as connection:
        assert (await connection.exec_driver_sql("SHOW jit")).scalar_one() == "off"


def open_connection(bench: PostgresBench) -> Any:
    """One of the store's own connections."""
    store: Any = bench.store
    return store.engine.connect()


async def test_an_unmigrated_database_is_told_with_what_to_do(postgres_database: str) -> None:
    """From every side: the text names the command."""
    store = await open_store(postgres_database)
    for attempt in (store.ping, lambda: store.next_due(), lambda: _see(store)):
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


async def test_what_is_shown_is_one_snapshot(postgres: PostgresBench) -> None:
    """Whatever is committed between two of its statements."""
    scene, store = Scene(postgres), postgres.store
    assert isinstance(store, SqlStore)
    await scene.open("a")
    async with store._reading(alone=False) as run:
        (before,) = await run("show_activity", id="a")
        await scene.complete("a", "m")
        assert await run("show_members", id="a") == []
        assert await run("show_activity", id="a") == [before]
    seen = await store.show("a")
    assert seen is not None
    assert seen.members.done == seen.activity.done == 1


async def test_what_was_not_committed_is_not_said_to_be(postgres: PostgresBench) -> None:
    """The server answers COMMIT with ROLLBACK where a statement failed and nobody minded."""
    store = postgres.store

    async def careless() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])
            with contextlib.suppress(asyncpg.PostgresError):
                await tx.write(Writes(counters={"x": (1 << 63) - 1}))
                await tx.write(Writes(counters={"x": 1}))

    with pytest.raises(StoreUnavailable, match="was not committed: ROLLBACK"):
        await careless()
    assert await store.show("a") is None
