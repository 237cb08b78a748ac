"""WeChat's stand-in as the commands start it, and a dispatcher that has nobody to call for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.cli.embedded_simulator import connect, simulator_server, warn_about
from services.cli.errors import CommandError
from services.dispatcher.app import build
from services.runtime.clock import RealClock
from services.runtime.metrics import Metrics
from services.runtime.process import Parts
from services.runtime.settings import Secret, Settings
from tests.lifecycle.support import Kicks, MemoryBus
from tests.verification.dict_store.store import MemoryStore


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "does not exist"), ("[{", "cannot be used"), ('[{"action": {"errcod": 1}}]', "cannot be used")],
)
def test_a_file_of_faults_that_gives_none_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    """A mistyped path would be a test that passes."""
    path = tmp_path / "faults.json"
    if content is not None:
        path.write_text(content)
    server = simulator_server(Settings(simulator_faults=str(path)), "127.0.0.1", 0, None)
    with capture_logs() as lines:
        warn_about(server, "127.0.0.1", str(path))
    (line,) = lines
    assert told in line["event"]
    assert line["path"] == str(path)


def test_one_that_is_right_is_not(tmp_path: Path) -> None:
    """Its rules are in force from the start."""
    path = tmp_path / "faults.json"
    path.write_text('[{"action": {"errcode": -1}}]')
    server = simulator_server(Settings(simulator_faults=str(path)), "127.0.0.1", 0, None)
    with capture_logs() as lines:
        warn_about(server, "127.0.0.1", str(path))
    assert lines == []
    assert len(server.faults.view()) == 1


def test_a_key_file_and_an_address_connect_the_page_with_a_gateway(tmp_path: Path) -> None:
    """Either alone does not; the key is in the file only, and the page is not told it."""
    path = tmp_path / "key"
    path.write_text("lck_canary\n")
    path.chmod(0o600)
    for file, url, found in (
        ("", "http://g", None),
        (str(path), "", None),
        (str(path), "http://g", "http://g"),
    ):
        server = simulator_server(Settings(), "127.0.0.1", 0, None)
        connect(server, Settings(simulator_gateway=url, simulator_key_file=file))
        assert server.acting.means()["gateway"] == found
        assert "canary" not in str(server.acting.means())
    path.chmod(0o644)
    server = simulator_server(Settings(), "127.0.0.1", 0, None)
    with pytest.raises(CommandError, match=r"LIVECARD_SIMULATOR_KEY_FILE: .* chmod 600"):
        connect(server, Settings(simulator_key_file=str(path), simulator_gateway="http://g"))


@pytest.mark.parametrize(("apps", "lines"), [("", 1), ("{}", 1), ('{"wx1": "s"}', 0)])
async def test_a_dispatcher_without_any_app_says_so(apps: str, lines: int) -> None:
    """It is ready, and would say nothing until the first card comes."""
    store = MemoryStore(RealClock().wall)
    settings = Settings(kafka="localhost:9092", apps=Secret(apps))
    parts = Parts("d", settings, RealClock(), random.Random(1), store, MemoryBus(), Kicks(), Metrics())
    (service,) = build(parts)
    service.stop()
    with capture_logs() as told:
        await service.run()
    assert len([line for line in told if "no app is named" in line["event"]]) == lines
