"""A command that fails says so in one line for people, and nothing for machines stands before it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.commands import app
from tests.cli.running import LIVECARD

NOBODY = "127.0.0.1:1"
EVENT = {
    "type": "livecard.activity.opened",
    "subject": "a-1",
    "data": {"appid": "wx1", "template": "complete", "expires_at": "2099-01-01T00:00:00Z"},
}
TLS = {"LIVECARD_KAFKA_SECURITY": "SSL", "LIVECARD_KAFKA_SSL_CAFILE": "/nowhere.pem"}
AWAY = {"LIVECARD_DATABASE": f"postgresql+asyncpg://me:canary@{NOBODY}/x", "LIVECARD_KAFKA": NOBODY}

NEEDED = {
    "show": ["a-1"],
    "redeliver": ["a-1"],
    "forget": ["gp-1"],
    "key": ["signup", "--scope", "read", "--app", "wx1"],
}
"""What a command wants to have before it looks at its settings."""

FAILING = [
    (["init"], AWAY),
    (["init"], {"LIVECARD_KAFKA": NOBODY, "LIVECARD_DATABASE": "sqlite+aiosqlite:///STATE/s.sqlite3"}),
    (["init"], {}),
    (["lifecycle"], {}),
    (["lifecycle"], {**AWAY, **TLS}),
    (["lifecycle"], {**AWAY, "LIVECARD_HTTP": "TAKEN"}),
    (["clock"], {**AWAY, **TLS}),
    (["clock"], {**AWAY, "LIVECARD_HTTP": "TAKEN"}),
    (["clock"], {**AWAY, "LIVECARD_DATABASE": "mysql://db/x"}),
    (["dispatcher"], {**AWAY, **TLS}),
    (["dispatcher"], {**AWAY, "LIVECARD_HTTP": "TAKEN"}),
    (["dispatcher"], {**AWAY, "LIVECARD_APPS_FILE": "/nowhere.json"}),
    (["simulator"], {"LIVECARD_HTTP": "TAKEN", "LIVECARD_SIMULATOR_FAULTS": "/nowhere.json"}),
    (["simulator"], {"LIVECARD_APPS_FILE": "/nowhere.json"}),
    (["up"], {"LIVECARD_KAFKA": NOBODY}),
    (["up"], {"LIVECARD_HTTP": "TAKEN", "LIVECARD_SIMULATOR_HTTP": "127.0.0.1:0"}),
    (["up"], {"LIVECARD_SIMULATOR_HTTP": "TAKEN"}),
    (["demo", "--plain"], {"LIVECARD_SIMULATOR_HTTP": "TAKEN"}),
    (["show", "a-1"], AWAY),
    (["show", "a-1"], {}),
    (["send", "-"], AWAY),
    (["send", "nowhere.json"], AWAY),
    (["ledger"], AWAY),
    (["gates"], AWAY),
    (["gates", "--open", "wx1"], AWAY),
    (["replay"], AWAY),
    (["replay", "--reason", "typo"], AWAY),
    (["redeliver", "a-1"], AWAY),
]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address in use."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(("arguments", "settings"), FAILING)
def test_a_failing_command_says_one_line(
    arguments: list[str], settings: dict[str, str], taken: str, tmp_path: Path
) -> None:
    """Whatever the libraries below it have to say."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    given = {k: v.replace("TAKEN", taken).replace("STATE", str(tmp_path)) for k, v in settings.items()}
    done = subprocess.run(
        [LIVECARD, *arguments],
        env={**kept, "XDG_STATE_HOME": str(tmp_path), **given},
        input=json.dumps(EVENT).encode(),
        capture_output=True,
        check=False,
    )
    lines = [line for line in done.stderr.decode().splitlines() if "filled in" not in line]
    assert done.returncode == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("livecard: ")
    assert "canary" not in lines[0]


def test_wrong_settings_are_told_by_every_command(tmp_path: Path) -> None:
    """A headline, one line a mistake, and where to look them up."""
    told = set()
    for command in sorted(each.callback.__name__ for each in app.registered_commands if each.callback):
        argument = NEEDED.get(command, [])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
        done = subprocess.run(
            [LIVECARD, command, *argument],
            env={**kept, "LIVECARD_SWEEP": "5s"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1, command
        told.add(done.stderr.decode().partition("\n`")[0].rstrip())
    (line,) = told
    assert line.startswith("livecard: the settings are wrong\nLIVECARD_SWEEP: '5s' does not do: write plain ")


def test_who_asks_for_debug_gets_the_log(tmp_path: Path) -> None:
    """As services write it, before the line for people."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    done = subprocess.run(
        [LIVECARD, "replay"],
        env={**kept, **AWAY, "LIVECARD_LOG_LEVEL": "debug"},
        capture_output=True,
        check=False,
    )
    *logged, last = done.stderr.decode().splitlines()
    assert last.startswith("livecard: ")
    assert {json.loads(line)["level"] for line in logged} >= {"warning"} or logged
