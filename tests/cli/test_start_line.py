"""The line with which a service starts says where it works, and no secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.patience import PATIENCE
from tests.cli.running import LIVECARD

DATABASE = "postgresql+asyncpg://me:canary%401@127.0.0.1:1/cards?sslmode=disable"
SASL = {
    "LIVECARD_KAFKA_SECURITY": "SASL_PLAINTEXT",
    "LIVECARD_KAFKA_SASL_MECHANISM": "PLAIN",
    "LIVECARD_KAFKA_SASL_PLAIN_USERNAME": "me",
    "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD": "canary",
}


def start_line(command: str, **settings: str) -> dict[str, Any]:
    """Start it, read its log up to that line, and let it go."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    address = {"LIVECARD_HTTP": "127.0.0.1:0", "LIVECARD_SIMULATOR_HTTP": "127.0.0.1:0"}
    with subprocess.Popen(
        [LIVECARD, command],
        env={**kept, **address, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        told: list[dict[str, Any]] = []
        for line in process.stderr:
            assert b"canary" not in line
            told.append(json.loads(line))
            if told[-1]["event"] == "serving":
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return told[-1]


@pytest.mark.parametrize("command", ["lifecycle", "clock", "dispatcher", "gateway"])
def test_a_service_names_store_and_broker(command: str) -> None:
    """Also where neither answers."""
    line = start_line(command, LIVECARD_KAFKA="127.0.0.1:1,127.0.0.1:2", LIVECARD_DATABASE=DATABASE, **SASL)
    assert line["store"] == "postgresql+asyncpg://me:***@127.0.0.1:1/cards?sslmode=disable"
    assert line["broker"] == "127.0.0.1:1,127.0.0.1:2"


def test_up_names_its_embedded_ones(tmp_path: Path) -> None:
    """As it prints them for people."""
    line = start_line("up", XDG_STATE_HOME=str(tmp_path))
    assert line["store"] == f"sqlite+aiosqlite:///{tmp_path}/livecard/livecard.sqlite3"
    assert line["broker"].startswith("127.0.0.1:")
