"""`livecard up` as a process: where everything of it is, from what it prints."""

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

from scripts.patience import PATIENCE
from tests.e2e.line import LIVECARD

PRINTED = re.compile(
    r"API  (?P<api>\S+)/v1 .*API key  (?P<key>\S+).*see the chat: +(?P<page>\S+) "
    r".*LIVECARD_KAFKA=(?P<kafka>\S+)",
    re.DOTALL,
)


class Up:
    """One run of it, and a second terminal beside it."""

    def __init__(self, env: dict[str, str], printed: re.Match[str]) -> None:
        self.kafka, self.gateway, self.key = printed["kafka"], printed["api"], printed["key"]
        self.env, self.page = {**env, "LIVECARD_KAFKA": self.kafka}, printed["page"]

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
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    env |= {
        "XDG_STATE_HOME": str(folder),
        "LIVECARD_HTTP": "127.0.0.1:0",
        "LIVECARD_SIMULATOR_HTTP": "127.0.0.1:0",
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
            while not (found := PRINTED.search(printed)):
                line = await process.stdout.readline()
                assert line, (folder / "log").read_text()[-2000:]
                printed += line.decode()
        yield Up(env, found)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
