"""`python -m scripts.compose`: what docker-compose.yml describes runs without Docker, and works."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts.compose import Topology, read
from scripts.compose.described import rounds
from tests.e2e.line import until

SERVING = ("lifecycle", "clock", "dispatcher", "gateway", "simulator")
GIVEN = {"LIVECARD_KAFKA": "broker:9092", "LIVECARD_DATABASE": "postgresql+asyncpg://livecard@db/livecard"}


def test_everything_starts_after_what_it_waits_for() -> None:
    services = read()
    place = {name: number for number, names in enumerate(rounds(services)) for name in names}
    assert set(place) == set(services)
    for name, each in services.items():
        assert all(place[other] < place[name] for other in each.needs)


def test_every_address_and_folder_of_the_file_is_one_of_this_machine(tmp_path: Path) -> None:
    """The settings of each service, as they are in compose, but for where things are."""
    topology = Topology(tmp_path, given=GIVEN, ports_as_published=True)
    gateway = topology.environment("gateway")
    assert gateway["LIVECARD_HTTP"] == "127.0.0.1:8080"
    assert gateway["LIVECARD_WECHAT"] == "http://127.0.0.1:8084"
    assert gateway["LIVECARD_API_KEYS_FILE"] == str(tmp_path / "volumes" / "keys" / "keys.json")
    assert gateway["LIVECARD_KAFKA"] == GIVEN["LIVECARD_KAFKA"]
    described = read()
    for name in SERVING:
        assert set(topology.environment(name)) == set(described[name].environment) | set(GIVEN)
        assert not any(
            other in json.dumps(topology.environment(name)) for other in ("0.0.0.0", "://simulator")
        )


def test_the_environment_of_the_caller_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVECARD_SWEEP", "99")
    monkeypatch.setenv("LIVECARD_KAFKA", "elsewhere:9092")
    topology = Topology(tmp_path, given=GIVEN, ports_as_published=False)
    printed = topology.run("dispatcher", "settings", "--json").stdout
    values = {row["variable"]: row["value"] for row in json.loads(printed)}
    assert values["LIVECARD_SWEEP"] == "1"
    assert values["LIVECARD_KAFKA"] == GIVEN["LIVECARD_KAFKA"]


@pytest.fixture
def topology(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> Iterator[Topology]:
    """All services of the file, on free ports and on engines that others use, too."""
    given = {
        "LIVECARD_KAFKA": kafka,
        "LIVECARD_DATABASE": postgres_database,
        "LIVECARD_TOPIC_PREFIX": topic_prefix,
    }
    with Topology(tmp_path, given=given, ports_as_published=False) as topology:
        yield topology


def ask(topology: Topology, name: str, path: str, body: Any = None) -> bytes:
    """What a service answers."""
    request = urllib.request.Request(f"http://{topology.address(name)}{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def scraped(topology: Topology) -> set[str]:
    """The services whose metrics Prometheus has read."""
    targets = json.loads(ask(topology, "prometheus", "/api/v1/targets"))["data"]["activeTargets"]
    return {each["labels"]["service"] for each in targets if each["health"] == "up"}


@pytest.mark.slow
async def test_a_card_is_true_on_what_compose_describes(topology: Topology) -> None:
    """From an event to the chat; every service is ready, counts, and leaves in order."""
    card = {"activity_id": "a-1", "appid": "wx1", "template": "complete", "participants": ["gp-alex"]}
    ask(topology, "simulator", "/control/activities", card)
    opened = {
        "specversion": "1.0",
        "id": "1",
        "source": "/test",
        "type": "livecard.activity.opened",
        "subject": "a-1",
        "data": {
            "appid": "wx1",
            "template": "complete",
            "participants": ["gp-alex"],
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
    }
    done = {**opened, "id": "2", "type": "livecard.participant.completed", "data": {"members": ["gp-alex"]}}
    lines = "\n".join(json.dumps(each) for each in (opened, done)).encode()
    sent = topology.run("lifecycle", "send", "-", feed=lines)
    assert sent.returncode == 0, sent.stdout + sent.stderr

    def shown() -> bool:
        return "gp-alex" in json.loads(ask(topology, "simulator", "/control/activities/a-1"))["done"]

    await until(shown, "the card shows that alex is done")
    for name in SERVING:
        assert json.loads(ask(topology, name, "/readyz"))["ready"]
        assert b"process_cpu_seconds_total" in ask(topology, name, "/metrics")
    assert b'verdict="ok"' in ask(topology, "dispatcher", "/metrics")
    made = topology.run("gateway", "key", "try", "--scope", "read", "--app", "wx1")
    assert made.returncode == 0, made.stderr
    key = made.stdout.decode().split()[-1]
    assert key
    if "prometheus" in topology.services:
        await until(lambda: scraped(topology) == set(SERVING) - {"simulator"}, "Prometheus reads all")
    codes = topology.stop()
    assert codes == dict.fromkeys(codes, 0)
