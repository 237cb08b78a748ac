"""What the simulator keeps over a restart, and what it learns of cards that no page has shared."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from contracts.wechat import CREATE_ACTIVITY_ID_PATH
from scripts.patience import PATIENCE
from services.simulator.app import SimulatorServer
from services.simulator.cards import Declaration
from services.simulator.memory import MemoryFileError
from tests.simulator.conftest import START, Client, StandingClock

OPENED = Declaration(
    activity_id="act",
    appid="wx1",
    template="complete",
    title="团建报名统计",
    publisher="gp-cindy",
    participants=("gp-alex", "gp-bob"),
    expires_at=START + 10**12,
)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[tuple[SimulatorServer, Client]]]]:
    """Start a simulator with the same file each time; the one before has stopped."""
    async with AsyncExitStack() as stack:
        running: list[SimulatorServer] = []

        async def again() -> tuple[SimulatorServer, Client]:
            for before in running:
                await before.stop()
            server = SimulatorServer(
                apps={"wx1": "s1"}, clock=StandingClock(), chance=random.Random(1), auto_declare=True
            )
            server.remember(tmp_path / "state" / "simulator.sqlite3")
            await server.start()
            running.append(server)
            stack.push_async_callback(server.stop)
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            http = await stack.enter_async_context(aiohttp.ClientSession(server.url, timeout=timeout))
            client = Client(http)
            await client.log_in()
            return server, client

        yield again


async def test_cards_and_ids_are_the_same_after_a_restart(start) -> None:
    """Also what only the page knows: the chat, the nicknames, the order."""
    _, client = await start()
    await client.declare(title="团建", publisher="cindy", members=["alex"], names={"alex": "小明"})
    await client.declare("b")
    await client.send(1, ["alex"])
    await client.send(2, None, activity_id="c")
    created = await client.get(CREATE_ACTIVITY_ID_PATH, access_token=client.token)
    before = await client.get("/control/activities")
    _, client = await start()
    assert await client.get("/control/activities") == before
    assert [shown["activity_id"] for shown in before["activities"]] == ["c", "b", "act"]
    assert (await client.send(1, ["stranger"]))["errcode"] == 40097
    assert (await client.send(3, ["alex"]))["errcode"] == 0
    await client.send(2, None, activity_id=created["activity_id"])
    card = await client.card(created["activity_id"])
    assert card["expires_at"] == created["expiration_time"] * 1_000_000
    _, client = await start()
    assert (await client.card())["target_state"] == 3


async def test_a_reset_is_remembered_too(start) -> None:
    _, client = await start()
    await client.declare()
    await client.post("/control/reset")
    _, client = await start()
    assert (await client.get("/control/activities"))["total"] == 0


def test_a_file_that_is_none_of_its_own_is_named(tmp_path: Path) -> None:
    path = tmp_path / "simulator.sqlite3"
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(MemoryFileError, match=f"cannot use {path}.*delete it"):
        SimulatorServer().remember(path)


async def test_a_reset_that_cannot_be_written_is_answered_and_forgets_nothing_by_halves(
    start, tmp_path: Path
) -> None:
    server, client = await start()
    await client.declare()
    other = sqlite3.connect(tmp_path / "state" / "simulator.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    server.shell.memory._db.execute("PRAGMA busy_timeout = 0")
    await client.post("/control/reset")
    assert (await client.get("/control/activities"))["total"] == 0
    other.execute("ROLLBACK")
    other.close()
    _, client = await start()
    assert (await client.get("/control/activities"))["total"] == 1


async def test_a_file_with_a_spoilt_card_is_named(start, tmp_path: Path) -> None:
    server, client = await start()
    await client.declare()
    await server.stop()
    path = tmp_path / "state" / "simulator.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE cards SET body = 7")
    with pytest.raises(MemoryFileError, match="does not hold the simulator's cards"):
        SimulatorServer().remember(path)


async def test_a_card_is_on_the_page_as_the_store_knows_it_before_any_call(start) -> None:
    """And changes with it: who is added stands there; what the card shows stays."""
    server, client = await start()
    known = [OPENED]

    async def source(activity_id: str | None) -> Sequence[Declaration]:
        return [each for each in known if activity_id in (None, each.activity_id)]

    server.shell.source = source
    (shown,) = (await client.get("/control/activities"))["activities"]
    assert (shown["title"], shown["publisher"]) == ("团建报名统计", "gp-cindy")
    assert shown["viewers"]["participants"] == {"gp-alex": "未完成", "gp-bob": "未完成"}
    assert shown["expires_at"] == OPENED.expires_at
    await client.send(1, ["gp-alex"])
    known[0] = Declaration(
        activity_id="act", appid="wx1", template="complete", participants=("gp-dora",), expires_at=START * 2
    )
    shown = await client.card()
    assert (shown["title"], shown["done"]) == ("", ["gp-alex"])
    assert shown["viewers"]["participants"] == {"gp-dora": "未完成", "gp-alex": "已完成"}


async def test_the_first_call_of_a_card_finds_its_names(start) -> None:
    """The chat says who published what, though nobody has looked at the page."""
    server, client = await start()
    asked: list[str | None] = []

    async def source(activity_id: str | None) -> Sequence[Declaration]:
        asked.append(activity_id)
        return [OPENED]

    server.shell.source = source
    assert (await client.send(1, ["gp-alex"]))["errcode"] == 0
    assert (await client.send(1, ["gp-bob"]))["errcode"] == 0
    assert asked == ["act"]
    said = [each.text for each in server.model.cards["act"].chat]
    assert said[0] == "gp-alex 已完成 gp-cindy 发布的 团建报名统计"


async def test_what_a_page_shared_stays_as_the_page_said(start) -> None:
    server, client = await start()
    await client.declare(title="名字", names={"gp-alex": "小明"})

    async def source(_: str | None) -> Sequence[Declaration]:
        return [OPENED]

    server.shell.source = source
    assert (await client.card())["title"] == "名字"
