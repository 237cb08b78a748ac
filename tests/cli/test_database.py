"""A database that cannot be used, as the commands tell it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiosqlite
import pytest

from services.runtime.clock import RealClock
from services.runtime.error_text import words
from services.runtime.health import Dependency
from services.store.open import open_store
from services.store.ports import StoreUnavailable
from tests.cli.running import livecard


async def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would tell a loop that is closed, and die with a traceback above the message."""
    stop = aiosqlite.Connection.stop

    def slow(self: aiosqlite.Connection) -> object:
        self._tx.put_nowait((None, lambda: time.sleep(0.2)))
        return stop(self)

    monkeypatch.setattr(aiosqlite.Connection, "stop", slow)
    before = set(threading.enumerate())
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}")
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await store.ping()
    assert set(threading.enumerate()) - before == set()
    await store.close()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that lets everybody in and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("arguments", [["ledger"], ["init"]])
def test_a_database_that_keeps_silent_is_named_in_words(mute: int, arguments: list[str]) -> None:
    """The name of a Python class tells nobody what to do."""
    url = f"postgresql+asyncpg://me:canary@127.0.0.1:{mute}/livecard"
    code, printed = livecard(*arguments, LIVECARD_DATABASE=url, LIVECARD_KAFKA="127.0.0.1:1")
    assert code == 1
    assert "the database cannot be reached: no answer in time" in printed
    assert f"asked was postgresql+asyncpg://me:***@127.0.0.1:{mute}/livecard (LIVECARD_DATABASE)" in printed
    assert "TimeoutError" not in printed
    assert "canary" not in printed


async def test_readiness_tells_silence_in_words() -> None:
    """On /readyz, too."""

    async def ask() -> None:
        raise StoreUnavailable("the database cannot be reached: TimeoutError") from TimeoutError()

    dependency = Dependency("store", ask, 60.0, RealClock())
    asking = asyncio.create_task(dependency.run())
    await asyncio.sleep(0)
    asking.cancel()
    assert dependency.away == "the database cannot be reached: no answer in time"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "it failed (ConnectionResetError)"),
        (OSError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (ValueError("x: TimeoutError"), "x: TimeoutError"),
    ],
)
def test_an_error_without_words_gets_some(error: Exception, text: str) -> None:
    """What has words keeps them."""
    assert words(error) == text
