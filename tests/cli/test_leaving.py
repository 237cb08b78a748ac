"""SIGTERM is heard from the first moment on, and a service that is asked to leave has not failed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from scripts.patience import PATIENCE
from services.cli.commands import app
from services.cli.main import SERVES
from services.store.open import migrate
from tests.cli.running import LIVECARD, livecard

MOMENTS = (0.0, 0.05, 0.15, 0.25, 0.4, 0.7, 1.2)
"""Seconds after the start; where it is slow, the later ones meet what the earlier ones met elsewhere."""
ASKED = [(signal.SIGTERM, MOMENTS), (signal.SIGINT, (0.05, 0.25))]

BROKER = {"LIVECARD_KAFKA": "127.0.0.1:9"}


def hears(process: subprocess.Popen[bytes]) -> bool:
    """Whether a handler for SIGTERM is in place, or the process has ended."""
    if process.poll() is not None:
        return True
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught & 1 << (signal.SIGTERM - 1))


def started(command: str, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    """The command, once its interpreter has come to our first lines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    process = subprocess.Popen(
        [LIVECARD, command],
        env={**kept, "XDG_STATE_HOME": str(folder), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    until = time.monotonic() + PATIENCE
    while not hears(process):
        assert time.monotonic() < until
        time.sleep(0.001)
    return process


def left(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """How it ended, and what it said."""
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said.decode()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An SQLite database with tables."""
    url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('store') / 'livecard.sqlite3'}"
    asyncio.run(migrate(url, finish=True))
    return url


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux which signals are heard")
@pytest.mark.parametrize(("number", "moments"), ASKED, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("command", sorted(SERVES))
def test_asked_at_any_moment_of_its_start_a_service_leaves_with_0(
    command: str, number: signal.Signals, moments: tuple[float, ...], database: str, tmp_path: Path
) -> None:
    """During the imports, while it opens its parts, and when it serves already; the broker is not there."""
    settings = {
        "LIVECARD_DATABASE": database,
        "LIVECARD_HTTP": "127.0.0.1:0",
        "LIVECARD_SIMULATOR_HTTP": "127.0.0.1:0",
    }
    if command != "up":
        settings |= BROKER
    ends = {}
    for moment in moments:
        began = time.monotonic()
        process = started(command, tmp_path, **settings)
        time.sleep(max(0.0, began + moment - time.monotonic()))  # the moment is what varies; nothing is timed
        process.send_signal(number)
        ends[moment] = left(process)
    assert {moment: code for moment, (code, _) in ends.items()} == dict.fromkeys(ends, 0), ends
    assert not any("Traceback" in said for _, said in ends.values()), ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["typer", "sqlalchemy"])
@pytest.mark.parametrize("command", ["lifecycle", "up", "init"])
def test_asked_in_the_midst_of_an_import(
    command: str, module: str, number: signal.Signals, tmp_path: Path
) -> None:
    """Even where the import would swallow whatever is raised in it."""
    program = f"""
        import os, time
        try:
            os.kill(os.getpid(), {number:d})
            time.sleep(60)
        except BaseException:
            time.sleep(60)
    """
    (tmp_path / f"{module}.py").write_text(dedent(program))
    code, said = livecard(command, PYTHONPATH=str(tmp_path), XDG_STATE_HOME=str(tmp_path), **BROKER)
    assert (code, said) == (0 if command in SERVES else 128 + number, "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux which signals are heard")
def test_a_command_that_is_cut_off_has_not_succeeded(tmp_path: Path) -> None:
    """A migration that was killed must not look like one that is done."""
    for number in (signal.SIGTERM, signal.SIGINT):
        process = started("init", tmp_path)
        process.send_signal(number)
        assert left(process) == (128 + number, "")


def test_nothing_heavy_is_imported_before_signals_are_heard() -> None:
    """What takes long comes after it."""
    program = (
        "import sys, services.cli.main; print({'typer', 'rich', 'asyncio', 'msgspec'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_every_name_of_those_who_serve_is_a_command() -> None:
    """A misspelt one would leave with 143."""
    names = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    assert names >= SERVES
