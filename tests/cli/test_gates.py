"""`livecard gates`: every gate told whole, and each app that was named gets an answer."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from contracts.times import SECOND
from services.cli.tables import print_table, table
from services.runtime.clock import RealClock
from services.store.open import migrate
from tests.cli.running import livecard

RID = "rid: 64a2b7f1-0c9d8e7f-1a2b3c4d"
ERRMSG = f"reach max api daily quota limit, could get access when the counter resets {RID}"


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder whose store knows one app, with a closed gate."""
    path = tmp_path / "livecard" / "livecard.sqlite3"
    await migrate(f"sqlite+aiosqlite:///{path}")
    until = RealClock().wall() + 3_600 * SECOND
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO gates (appid, closed_until, reason, errcode, errmsg) VALUES (?, ?, ?, ?, ?)",
            ("wx-one-with-a-long-name", until, "daily_limit", 45009, ERRMSG),
        )
    connection.close()
    return tmp_path


def test_in_a_pipe_a_gate_is_one_whole_line(state: Path) -> None:
    """Until when, and the rid that WeChat's support asks for."""
    code, printed = livecard("gates", XDG_STATE_HOME=str(state), COLUMNS="80")
    line = printed.splitlines()[1]
    assert code == 0
    assert line.startswith("wx-one-with-a-long-name  closed  20")
    assert "Z (in 60 min)" in line
    assert line.endswith(RID)


def test_what_was_opened_is_told_beside_who_is_unknown(state: Path) -> None:
    """A typo neither hides what was done nor goes unnoticed."""
    opening = ["gates", "--open", "wx-one-with-a-long-name", "--open", "wx-typo"]
    for words in ("opened", "was open already"):
        code, printed = livecard(*opening, XDG_STATE_HOME=str(state))
        assert code == 1
        assert f"wx-one-with-a-long-name: {words}" in printed
        assert "no activity of these apps was ever opened here: wx-typo" in printed


class Terminal(io.StringIO):
    """What is printed on a screen."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_table_is_folded_to_its_width_and_loses_nothing() -> None:
    """However narrow."""
    screen = Terminal()
    made = table("appid", "errmsg")
    made.add_row("wx1", RID)
    print_table(Console(file=screen, width=20, soft_wrap=True, color_system=None), made)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 20
    assert RID.replace(" ", "") in "".join(line[5:].replace(" ", "") for line in lines)


def test_a_gate_is_closed_until_a_time_with_a_reason(state: Path) -> None:
    """What was done is an action of whoever ran the command."""
    name = "wx-one-with-a-long-name"
    wish = ["gates", "--close", name, "--until", "2h", "--why", "a wrong campaign"]
    code, printed = livecard(*wish, XDG_STATE_HOME=str(state))
    assert code == 0, printed
    assert f"{name}: closed" in printed
    line = printed.splitlines()[-1]
    assert "(in 120 min)" in line
    assert line.endswith("operator           a wrong campaign")
    code, printed = livecard("actions", XDG_STATE_HOME=str(state))
    assert code == 0
    assert f"close gate  {name}" in printed.splitlines()[1]
    assert "a wrong campaign" in printed
    code, printed = livecard("actions", "--json", XDG_STATE_HOME=str(state))
    assert '"what": "close gate"' in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--close", "wx1", "--until", "2h"], "--close needs --until TIME and --why TEXT"),
        (["--close", "wx1", "--why", "x"], "--close needs --until TIME and --why TEXT"),
        (["--until", "2h"], "--until belongs to --close APPID"),
        (
            ["--close", "wx1", "--open", "wx1", "--until", "2h", "--why", "x"],
            "wx1 is to be opened and closed",
        ),
        (["--close", "wx1", "--until", "soon", "--why", "x"], "'soon' is neither a time such as"),
        (["--close", "wx1", "--until", "2020-01-01T00:00:00Z", "--why", "x"], "that time is past"),
        (["--close", "wx1", "--until", "400d", "--why", "x"], "31 days at most"),
    ],
)
def test_a_wish_that_makes_no_sense_is_told(state: Path, options: list[str], said: str) -> None:
    code, printed = livecard("gates", *options, XDG_STATE_HOME=str(state))
    assert (code, said in printed) == (1, True), printed
    assert "Traceback" not in printed
