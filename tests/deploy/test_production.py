"""What production installs is enough: no service and no operator's command needs an extra."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVING = ["lifecycle", "clock", "dispatcher", "gateway", "simulator"]


def pins(name: str) -> set[str]:
    """Return the names that a lock file installs."""
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE))


def modules_of_extras() -> list[str]:
    """Return the top-level modules that only the extras bring."""
    extra = pins("requirements-dev.txt") - pins("requirements.txt") | {"confluent-kafka"}
    known = packages_distributions().items()
    return sorted(
        module
        for module, owners in known
        if all(re.sub(r"[-_.]+", "-", owner).lower() in extra for owner in owners)
    )


def run_without_extras(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which importing any module of theirs fails."""
    block = f"import sys; sys.modules.update(dict.fromkeys({modules_of_extras()!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", block + program], capture_output=True, text=True, check=False
    )


def test_the_extras_are_told_apart() -> None:
    assert {"pytest", "confluent_kafka", "mypy"} <= set(modules_of_extras())
    assert not {"aiokafka", "msgspec", "sqlalchemy"} & set(modules_of_extras())
    assert "confluent_kafka" in run_without_extras("import confluent_kafka").stderr


@pytest.mark.parametrize("service", SERVING)
def test_a_service_starts_without_extras(service: str) -> None:
    done = run_without_extras(f"import services.{service}.app")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["main", "commands", "processes", "inspect", "send"])
def test_a_command_runs_without_extras(module: str) -> None:
    done = run_without_extras(f"import services.cli.{module}")
    assert done.returncode == 0, done.stderr
