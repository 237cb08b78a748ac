"""`livecard close` for what matches: told first, done by a job that outlives its command, each act a row."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from services.store.open import migrate
from tests.cli.running import LIVECARD, livecard

MANY = 4_000
CLOSING = ["close", "--app", "wx1", "--go", "--why", "a wrong campaign"]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with many open activities of one app, and one of another."""
    path = tmp_path / "livecard" / "livecard.sqlite3"
    await migrate(f"sqlite+aiosqlite:///{path}")
    rows = [(f"a{number:05}", "wx1") for number in range(MANY)] + [("b", "wx2")]
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO activities (activity_id, appid, state, seen_at, opened_at, expires_at) "
            "VALUES (?, ?, 'open', 1, 1, 4102444800000000)",
            rows,
        )
        connection.executemany("INSERT INTO gates (appid) VALUES (?)", [("wx1",), ("wx2",)])
    connection.close()
    return path


def asked(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_a_job_whose_command_was_killed_is_gone_on_with(path: Path) -> None:
    """By `kill -9`: it stands as running; whoever goes on with it ends each activity once."""
    state = {"XDG_STATE_HOME": str(path.parents[1])}
    code, printed = livecard("close", "--app", "wx1", **state)
    assert (code, f"{MANY} activities match now, of 1 apps" in printed) == (0, True), printed
    assert asked(path, "SELECT count(*) FROM outbox") == [(0,)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    with subprocess.Popen(
        [LIVECARD, *CLOSING], env={**clean, **state}, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        command.stdout.readline()
        found = re.match(r"job ([0-9a-f]{12}): ", command.stdout.readline())
        command.kill()
    assert found is not None
    assert asked(path, "SELECT state FROM jobs") == [("running",)]
    code, printed = livecard("jobs", "--resume", found[1], "--why", "it was right", **state)
    assert (code, f"job {found[1]}: {MANY} closed" in printed) == (0, True), printed
    ended = asked(path, "SELECT count(*), count(DISTINCT activity_id), count(DISTINCT id) FROM outbox")
    assert ended == [(MANY, MANY, MANY)]
    acted = asked(path, "SELECT what, about, why FROM actions ORDER BY seq")
    assert acted == [
        ("start job", found[1], "a wrong campaign"),
        ("resume job", found[1], "it was right"),
    ]
    code, printed = livecard("jobs", "--stop", found[1], "--resume", found[1], **state)
    assert (code, "name one of them" in printed) == (1, True), printed
