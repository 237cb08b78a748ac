"""A server that takes writes is found, and one that takes none any more is left."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from scripts.engines import Postgres
from scripts.engines.postgres import query
from services.store.open import migrate, open_store
from services.store.ports import Store, StoreUnavailable
from tests.e2e.failover import two_servers, url_of
from tests.e2e.line import until
from tests.engines.support import run_apart
from tests.verification.chaos.proxy import Proxy

pytestmark = pytest.mark.postgres
NO_WRITES = "the database takes no writes: it is a standby, or was made read-only"
POOL = 4


@pytest.fixture(scope="module")
def servers(postgres_url: str) -> Iterator[tuple[Postgres, Postgres]]:
    """A primary with tables, and its standby; asking for the shared server skips where there is none."""
    with two_servers() as pair:
        run_apart(migrate(url_of(pair[0].port)))
        yield pair


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """A store with a small pool."""
    store = await open_store(url, pool=POOL)
    try:
        yield store
    finally:
        await store.close()


async def write(store: Store, name: str = "a") -> None:
    """One transaction that writes."""
    async with store.transaction() as tx:
        await tx.lock([name])


async def fill(store: Store) -> None:
    """Writes with every connection of the pool at once."""
    met = asyncio.Barrier(POOL)

    async def one(name: str) -> None:
        async with store.transaction() as tx:
            await tx.lock([name])
            await met.wait()

    await asyncio.gather(*(one(f"a{place}") for place in range(POOL)))


async def refusal(store: Store) -> str:
    """Why a write was refused; empty when it was not."""
    try:
        await write(store)
    except StoreUnavailable as error:
        return str(error)
    return ""


async def backends(server: Postgres) -> set[int]:
    """Its processes for our connections."""
    connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
    rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'livecard'")
    await connection.close()
    return {row["pid"] for row in rows}


def set_system(server: Postgres, what: str) -> None:
    """ALTER SYSTEM, for sessions that live already, too."""
    query(server.port, f"ALTER SYSTEM {what}")
    query(server.port, "SELECT pg_reload_conf()")


async def test_a_read_only_answer_throws_the_whole_pool_away(servers: tuple[Postgres, Postgres]) -> None:
    """The connections live, so nothing else would end them, and no data is to blame for the refusal."""
    primary, _ = servers
    async with opened(url_of(primary.port)) as store:
        await fill(store)
        before = await backends(primary)
        assert len(before) == POOL
        set_system(primary, "SET default_transaction_read_only = on")
        try:
            assert NO_WRITES in await until(lambda: refusal(store), "a write is refused")
            for ask in (store.ping, store.all_gates):
                with pytest.raises(StoreUnavailable, match=NO_WRITES):
                    await ask()
        finally:
            set_system(primary, "RESET default_transaction_read_only")
        await until(lambda: _taken(store), "writes are taken again")
        await fill(store)
        assert not before & await backends(primary)


async def _taken(store: Store) -> bool:
    return await refusal(store) == ""


async def test_a_question_alone_finds_out_that_no_writes_are_taken(
    servers: tuple[Postgres, Postgres],
) -> None:
    """Whoever only reads, as readiness does: its connection lives, and would answer for ever."""
    primary, _ = servers
    async with opened(url_of(primary.port)) as store:
        await store.ping()
        set_system(primary, "SET default_transaction_read_only = on")
        try:
            assert NO_WRITES in await until(lambda: _unready(store), "it is not ready")
        finally:
            set_system(primary, "RESET default_transaction_read_only")
        await until(lambda: _ready(store), "it is ready again")


async def _unready(store: Store) -> str:
    try:
        await store.ping()
    except StoreUnavailable as error:
        return str(error)
    return ""


async def _ready(store: Store) -> bool:
    return await _unready(store) == ""


async def test_of_several_servers_the_one_that_takes_writes_is_found(
    servers: tuple[Postgres, Postgres],
) -> None:
    """In whatever order, beside one that is dark: it takes connections and says nothing, or is gone."""
    primary, standby = (server.port for server in servers)
    with socket.create_server(("127.0.0.1", 0)) as dark:
        silent = dark.getsockname()[1]
        for ports in (
            (primary, standby),
            (standby, primary),
            (silent, primary),
            (1, standby, silent, primary),
        ):
            await migrate(url_of(*ports))
            async with opened(url_of(*ports)) as store:
                await write(store)
                await store.ping()


async def test_a_standby_alone_is_told_in_words(servers: tuple[Postgres, Postgres]) -> None:
    """By services, by `init`, and by what only reads, unless the URL says that any server will do."""
    url = url_of(servers[1].port)
    async with opened(url) as store:
        for attempt in (store.ping, store.all_gates, lambda: write(store), lambda: migrate(url)):
            with pytest.raises(StoreUnavailable, match=NO_WRITES):
                await attempt()
    async with opened(f"{url}&target_session_attrs=any") as store:
        assert await store.show("nobody") is None
        for attempt in (store.ping, lambda: write(store)):
            with pytest.raises(StoreUnavailable, match=NO_WRITES):
                await attempt()


@pytest.mark.parametrize("given", ["standby", "read-only", "leader"])
async def test_a_server_that_livecard_could_not_use_is_not_asked_for(given: str) -> None:
    """Before anybody connects."""
    url = f"{url_of(1)}&target_session_attrs={given}"
    for attempt in (lambda: open_store(url), lambda: migrate(url)):
        with pytest.raises(StoreUnavailable, match="target_session_attrs is one of read-write, primary, any"):
            await attempt()


async def test_one_address_that_leads_to_a_standby_for_a_while(postgres_url: str) -> None:
    """The primary is killed, the address leads to the standby, which is promoted; later to the old primary, a
    standby by now, and back. The store goes on by itself each time."""
    with two_servers() as (primary, standby):
        address = Proxy(primary.port)
        await address.start()
        try:
            await migrate(url_of(address.port))
            async with opened(url_of(address.port)) as store:
                await fill(store)
                await asyncio.to_thread(primary.kill9)
                assert await refusal(store)
                address.target = standby.port
                assert NO_WRITES in await until(lambda: _unready(store), "the standby is asked")
                await asyncio.to_thread(standby.promote)
                await until(lambda: _taken(store), "the new primary takes writes")
                await fill(store)
                await asyncio.to_thread(primary.follow, standby)
                address.target = primary.port
                address.cut()
                async with asyncio.timeout(60):
                    while NO_WRITES not in await refusal(store):
                        pass
                address.target = standby.port
                await until(lambda: _taken(store), "the new primary takes writes again")
                await fill(store)
        finally:
            await address.stop()


@pytest.mark.filterwarnings("ignore:unclosed connection:ResourceWarning")
@pytest.mark.parametrize("nonsense", [b"R\x00\x00\x00\x05zzzz", b"Z\x00\x00\x00\x06TTT"])
async def test_a_host_that_talks_nonsense_keeps_nobody_from_the_one_that_does_not(
    servers: tuple[Postgres, Postgres], nonsense: bytes
) -> None:
    """It answers first: another program has the port. Alone it is told in words."""

    async def babble(_: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        out.write(nonsense)
        await out.drain()
        out.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as babbling:
        port = babbling.sockets[0].getsockname()[1]
        async with opened(f"{url_of(port, servers[0].port)}&sslmode=disable") as store:
            await write(store)
        async with opened(f"{url_of(port)}&sslmode=disable") as store:
            assert "does not speak PostgreSQL's protocol" in await refusal(store)
    gc.collect()  # the driver leaves the connection half-made, and says so when it is collected
