"""What is tried again and again is told seldom, and how often it was not told."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
import structlog

from services.runtime.logs import Lines, Seldom, _json, _redacted, _renderer
from services.runtime.settings import Secret, Settings


def test_a_line_that_repeats_passes_once_in_a_while_and_tells_how_many_were_held_back() -> None:
    """Ten minutes of a try every 5 s: a line every 30 s; other lines and loggers are not touched."""
    now = 0.0
    seldom = Seldom(lambda: now)
    passed: list[Any] = []
    for _ in range(120):
        for event in (
            {"event": "no store", "logger": "a", "every": 30.0},
            {"event": "a card", "logger": "a"},
        ):
            try:
                passed.append((now, dict(seldom(None, "warning", dict(event)))))
            except structlog.DropEvent:
                continue
        now += 5.0
    told = [(at, line) for at, line in passed if line["event"] == "no store"]
    assert [at for at, _ in told] == [30.0 * turn for turn in range(20)]
    assert [line.get("more_like_it") for _, line in told] == [None] + [5] * 19
    assert sum(line["event"] == "a card" for _, line in passed) == 120
    assert not any("every" in line for _, line in passed)


def test_two_loggers_do_not_hold_back_each_other() -> None:
    """The key is the logger's name and the event."""
    seldom = Seldom(lambda: 0.0)
    for logger in ("a", "b"):
        assert seldom(None, "warning", {"event": "x", "logger": logger, "every": 30.0})
        with pytest.raises(structlog.DropEvent):
            seldom(None, "warning", {"event": "x", "logger": logger, "every": 30.0})


@pytest.mark.parametrize(
    ("form", "terminal", "as_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("console", False, False),
    ],
)
def test_lines_are_for_the_eye_on_a_terminal_and_json_elsewhere(
    form: Any, terminal: bool, as_json: bool
) -> None:
    """Unless a setting says which."""
    assert (_renderer(Settings(log=form), Terminal(terminal)) is _json) is as_json


class Terminal(StringIO):
    """A stream that is one, or is none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Full(StringIO):
    """A stream that takes nothing."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_fails_nobody() -> None:
    """A full disk, a stream that is closed."""
    Lines("a", Full()).info("x")
    closed = StringIO()
    closed.close()
    Lines("a", closed).info("x")


def test_whatever_a_value_is_its_line_is_json() -> None:
    """Half of a surrogate pair is no UTF-8, and a key may be no text."""
    for value in ("\ud800", {1: "x"}, {None: object()}, b"\xff", float("nan"), 2**80):
        assert isinstance(json.loads(_json(None, "info", {"event": "x", "value": value})), dict), value


def test_a_secret_that_is_handed_to_a_logger_is_not_written() -> None:
    """However deep it lies."""
    secret = Secret("hunter2")
    line = _redacted(None, "info", {"event": "x", "given": secret, "deep": {"a": [secret]}})
    assert line == {"event": "x", "given": "***", "deep": {"a": ["***"]}}


def test_a_stderr_that_is_closed_at_the_start_stops_nobody() -> None:
    """Python then has none at all."""
    work = (
        "import sys, structlog, logging; from services.runtime import logs; "
        "from services.runtime.settings import Settings; sys.stderr = None; logs.configure(Settings()); "
        "structlog.get_logger('livecard').error('x'); logging.error('x'); print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n"
