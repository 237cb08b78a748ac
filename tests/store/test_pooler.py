"""Behind PgBouncer with its default settings, in both modes: what works without one works there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from services.store.dialect import Statement
from services.store.open import migrate, open_store
from services.store.postgres import LIMITS, Sessions
from services.store.sql import SqlStore
from tests.engines.support import pooled
from tests.lifecycle.support import MemoryBus, TroubledStore, make_ingest
from tests.lifecycle.test_dividing import large, outcome

pytestmark = pytest.mark.postgres


@pytest.fixture(params=["session", "transaction"])
def through(request: pytest.FixtureRequest, postgres_database: str) -> Iterator[str]:
    """The URL of an empty database behind a pooler. In transaction mode all of us share three sessions."""
    sessions = 3 if request.param == "transaction" else 30
    with pooled(postgres_database, request.param, sessions=sessions) as url:
        yield url


@pytest.fixture
async def stores(through: str) -> AsyncIterator[list[SqlStore]]:
    """Three processes on a database that was migrated through the pooler."""
    await migrate(through)
    opened = [await open_store(through, slot=slot) for slot in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def test_processes_at_work_side_by_side_come_to_what_one_without_a_pooler_comes_to(
    stores: list[SqlStore], postgres_database: str
) -> None:
    """Three take the same batch in, as after a rebalance, while everything is read and relayed."""
    records = large(1_200)

    async def read(store: SqlStore) -> None:
        for _ in range(20):
            await store.ping()
            await store.next_due()
            rows = await store.outbox(await store.lease_shards(f"relay-{id(store)}", 1_000_000), 100)
            await store.delete_outbox([row.seq for row in rows])
            await store.show("a01")

    buses = [MemoryBus() for _ in stores]
    batches = [make_ingest(store, bus).take(records) for store, bus in zip(stores, buses, strict=True)]
    await asyncio.gather(*batches, *(read(store) for store in stores))
    direct = await open_store(postgres_database)
    try:
        alone, bus = TroubledStore(), MemoryBus()
        await make_ingest(alone, bus).take(records)
        behind, whole = await outcome(stores[0], buses[0]), await outcome(alone, bus)
        assert behind[0] == whole[0]
        assert behind == await outcome(direct, buses[0])
    finally:
        await direct.close()


async def test_every_transaction_has_its_limits_and_leaves_none_behind(
    stores: list[SqlStore], through: str
) -> None:
    """So a process that freezes inside one gives its locks back."""
    ask = ", ".join(f"current_setting('{name}')" for name in LIMITS)
    async with stores[0]._run() as run:
        (inside,) = await run(Statement("limits", f"SELECT {ask}", ()), {})
    assert tuple(inside) == ("5s", "5s", "30s", "off")
    other = await asyncpg.connect(through.replace("+asyncpg", ""), statement_cache_size=0)
    async with other.transaction():
        assert await other.fetchval("SELECT current_setting('lock_timeout')") == "0"
    await other.close()


async def test_a_pooler_is_noticed_and_a_server_is_not_taken_for_one(
    stores: list[SqlStore], postgres_database: str
) -> None:
    await stores[0].ping()
    direct = await open_store(postgres_database)
    try:
        await direct.ping()
        assert isinstance(stores[0]._sessions, Sessions)
        assert isinstance(direct._sessions, Sessions)
        assert (stores[0]._sessions.pooled, direct._sessions.pooled) == (True, False)
    finally:
        await direct.close()


async def test_who_says_that_statements_have_no_names_is_believed(postgres_database: str) -> None:
    """As other tools are told of a pooler."""
    url = f"{postgres_database}?statement_cache_size=0&prepared_statement_cache_size=0"
    await migrate(url)
    store = await open_store(url)
    try:
        await store.ping()
        assert store._sessions is not None
        assert store._sessions.pooled
    finally:
        await store.close()
