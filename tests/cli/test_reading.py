"""What a person reads at a terminal of 80 columns: whole, in whole words, and true."""

from __future__ import annotations

import re

import pytest

from services.cli.commands import app
from services.runtime.host import DEFAULT_ADDRESS
from services.runtime.settings import Settings, describe
from tests.cli.running import livecard
from tests.cli.terminal import on_a_terminal

DOCS = {
    each.callback.__name__: " ".join((each.callback.__doc__ or "").split())
    for each in app.registered_commands
    if each.callback is not None
}
"""What each command says of itself."""
COMMANDS = sorted(DOCS)


@pytest.mark.parametrize("columns", [80, 100])
def test_help_fits_and_cuts_nothing(columns: int) -> None:
    """Every command with its first sentence on its line."""
    lines = on_a_terminal("--help", columns=columns)
    assert max(map(len, lines)) <= 80
    for name, doc in DOCS.items():
        sentence = re.split(r"(?<=\.) ", doc)[0]
        assert f"  {name:<10}  {sentence}" in lines, name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits(command: str) -> None:
    """All that its function says is there."""
    lines = on_a_terminal(command, "--help")
    said = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    assert DOCS[command] in said


@pytest.mark.parametrize("columns", [80, 100])
def test_settings_fit_in_whole_words(columns: int) -> None:
    """One paragraph each: the variable with its value, then its meaning."""
    lines = on_a_terminal("settings", columns=columns, LIVECARD_COALESCE="2")
    assert max(map(len, lines)) <= columns
    said = " ".join(" ".join(lines).split())
    for row in describe(Settings()):
        assert any(line.startswith(f"{row.variable}=") for line in lines)
        assert row.meaning in said, row.variable
    assert "LIVECARD_COALESCE=2  seconds, default 1" in lines
    assert "LIVECARD_PARTITIONS=8" in lines


def test_settings_name_only_what_there_is() -> None:
    """Neither a service nor an interface that does not exist."""
    meaning = next(row.meaning for row in describe(Settings()) if row.variable == "LIVECARD_HTTP")
    told = dict(re.findall(r"(\d{4}) ([a-z, ]+?)(?= ·|$)", meaning))
    names = {name: port for port, listed in told.items() for name in listed.split(", ")}
    assert names == {kind: address.partition(":")[2] for kind, address in DEFAULT_ADDRESS.items()}
    assert names.keys() <= set(COMMANDS)
    assert "console" not in meaning


def test_the_version() -> None:
    """The package's own."""
    from importlib.metadata import version

    assert livecard("--version") == (0, f"livecard {version('livecard')}\n")
