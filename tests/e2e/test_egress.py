"""Two dispatchers behind two addresses, of which the app's list at WeChat has one (design.md §6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.line import APPID, Line, a_line, until

pytestmark = pytest.mark.slow
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


@asynccontextmanager
async def egress(port: int) -> AsyncIterator[str]:
    """A way to that port from another address; where it listens."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HERE, port, local_addr=(ELSEWHERE, 0))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(accept, HERE, 0)
    try:
        yield f"http://{HERE}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_dispatcher_whose_address_is_not_listed_leaves_the_app_to_the_other(line: Line) -> None:
    """Its gate stays open, every card is delivered, and the one that is refused says why and comes back."""
    names = [f"a-{number}" for number in range(40)]
    for name in names:
        line.declare(name, ["gp-1", "gp-2"])
    line.simulator.model.apps.allow(APPID, [HERE])
    async with egress(line.simulator.port) as way:
        line.settings["LIVECARD_WECHAT"] = way
        lifecycle, refused = await line.start("lifecycle", "dispatcher")
        await line.send(*(line.opened(name, ["gp-1", "gp-2"]) for name in names))
        await line.send(*(line.completed(name, "gp-1") for name in names))
        await until(lambda: "40164" in refused.log.read_text(), "the refused one says so")
        assert f"{ELSEWHERE}, not in whitelist" in refused.log.read_text()
        code, printed = await line.run("gates")
        assert (code, "closed" in printed) == (0, False), printed
        line.settings["LIVECARD_WECHAT"] = line.simulator.url
        (listed,) = await line.start("dispatcher")
        await until(lambda: all(line.card(name).posts for name in names), "every card is delivered")
        ledger = await line.settled()
        assert ledger["revisions"]["delivered"] == 2 * len(names)
        assert sum(sum(line.card(name).posts.values()) for name in names) == len(names)
        assert (await listed.terminate(), await listed.answers()) == (0, False)
        line.simulator.model.apps.allow(APPID, None)
        await line.send(line.completed(names[0], "gp-2"))
        await until(lambda: "gp-2" in line.card(names[0]).posts, "the refused one calls again by itself")
        assert (await lifecycle.terminate(), await refused.terminate()) == (0, 0)
