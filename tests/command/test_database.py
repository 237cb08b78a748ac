"""A database that cannot be used, as the commands tell it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import aiosqlite
import pytest

from services.store.open import open_store
from services.store.ports import StoreUnavailable


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
