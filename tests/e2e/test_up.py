"""`livecard up` as the README's tutorial uses it: what the simulator's page shows, and after a restart."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from scripts.patience import PATIENCE
from tests.e2e.line import LIVECARD, free_port, until

pytestmark = pytest.mark.slow
OPENED = {
    "type": "livecard.activity.opened",
    "subject": "966_NGiq",
    "data": {
        "appid": "wx1",
        "template": "complete",
        "title": "团建报名统计",
        "publisher": "gp-cindy",
        "participants": ["gp-alex", "gp-bob"],
        "expires_at": "2099-01-01T00:00:00Z",
    },
}
COMPLETED = {
    "type": "livecard.participant.completed",
    "subject": "966_NGiq",
    "data": {"members": ["gp-alex"]},
}


class Up:
    """One run of it, and a second terminal beside it."""

    def __init__(self, env: dict[str, str], kafka: str, page: str) -> None:
        self.env, self.page = {**env, "LIVECARD_KAFKA": kafka}, page

    async def send(self, event: dict[str, Any]) -> None:
        process = await asyncio.create_subprocess_exec(
            LIVECARD, "send", env=self.env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        await process.communicate(msgspec.json.encode(event))
        assert process.returncode == 0

    async def cards(self) -> list[Any]:
        """What the page draws, newest first."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.page}/control/activities?limit=60")
            return list(answer.json()["activities"])


@asynccontextmanager
async def up(folder: Path) -> AsyncIterator[Up]:
    """Start it, until it serves; at the end Ctrl-C."""
    page = f"127.0.0.1:{free_port()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    env |= {
        "XDG_STATE_HOME": str(folder),
        "LIVECARD_HTTP": "127.0.0.1:0",
        "LIVECARD_SIMULATOR_HTTP": page,
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            LIVECARD, "up", env=env, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(r"LIVECARD_KAFKA=(\S+)", printed)):
                line = await process.stdout.readline()
                assert line, (folder / "log").read_text()[-2000:]
                printed += line.decode()
        yield Up(env, found[1], f"http://{page}")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_page_names_a_card_from_its_opening_and_remembers_it(tmp_path: Path) -> None:
    """Title and people as the event named them, before any call; all of it after Ctrl-C and a new start."""
    async with up(tmp_path) as first:
        assert await first.cards() == []
        await first.send(OPENED)
        await until(first.cards, "the card is on the page")
        (card,) = await first.cards()
        assert (card["title"], card["publisher"], card["history"]) == ("团建报名统计", "gp-cindy", [])
        assert card["viewers"]["participants"] == {"gp-alex": "未完成", "gp-bob": "未完成"}
        await first.send(COMPLETED)

        async def told() -> Any:
            (card,) = await first.cards()
            return card["chat"] and card

        card = await until(told, "the chat says it")
        assert [said["text"] for said in card["chat"]] == ["gp-alex 已完成 gp-cindy 发布的 团建报名统计"]
        assert card["viewers"]["publisher"] == "1人已完成"
    assert (tmp_path / "livecard" / "livecard.simulator.sqlite3").exists()
    async with up(tmp_path) as second:
        assert await second.cards() == [card]
        await second.send({**COMPLETED, "data": {"members": ["gp-bob"]}})

        async def both() -> Any:
            return (await second.cards())[0]["done"] == ["gp-alex", "gp-bob"]

        await until(both, "the next one is told to the same card")
