"""A process that cannot go on ends by itself, not with 0, and says of what."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from scripts.patience import PATIENCE
from services.store.open import migrate

pytestmark = pytest.mark.slow


async def mishap(what: str, folder: Path) -> asyncio.subprocess.Process:
    """The process that this happens to."""
    database = f"sqlite+aiosqlite:///{folder / 'livecard.sqlite3'}"
    await migrate(database, finish=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.runtime.mishaps", what),
        env={
            **kept,
            "LIVECARD_DATABASE": database,
            "LIVECARD_KAFKA": "127.0.0.1:9",
            "LIVECARD_HTTP": "127.0.0.1:0",
            "LIVECARD_STALLED_AFTER": "15.5",
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_service_that_dies_takes_its_process_with_it(tmp_path: Path) -> None:
    """Exit code 1; the last line is for people, the trace is in the log."""
    process = await mishap("dies", tmp_path)
    _, said = await process.communicate()
    assert process.returncode == 1
    lines = said.decode().splitlines()
    assert lines[-1] == "livecard: bad died: KeyError: 'no such thing'"
    assert any("Traceback" in line and "a service died" in line for line in lines)


async def test_a_service_that_ends_by_itself_does_so_too(tmp_path: Path) -> None:
    """Nobody asked it to."""
    process = await mishap("ends", tmp_path)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().splitlines()[-1] == "livecard: bad died: it ended by itself"


async def test_an_event_loop_that_stands_still_is_told_with_its_place_and_ends_the_process(
    tmp_path: Path,
) -> None:
    """Exit code 70; the log names the line that blocks."""
    process = await mishap("blocks", tmp_path)
    _, said = await process.communicate()
    assert process.returncode == 70
    lines = [line for line in said.decode().splitlines() if "the event loop stands still" in line]
    assert len(lines) == 2
    assert all("mishaps.py" in line and " run" in line for line in lines)


async def test_an_event_loop_that_goes_on_is_left_alive(tmp_path: Path) -> None:
    """It is told that it stood still, and that it moves again."""
    process = await mishap("hesitates", tmp_path)
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        async for line in process.stderr:
            if b"moves again" in line:
                break
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
