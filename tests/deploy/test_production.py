"""What production installs is enough: no service and no operator's command needs a development extra."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVING = ["lifecycle", "clock", "dispatcher", "simulator"]


def pins(name: str) -> set[str]:
    """Return the names that a lock file installs."""
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE))


def development_modules() -> list[str]:
    """Return the top-level modules that only the development extra brings."""
    extra = pins("requirements-dev.txt") - pins("requirements.txt")
    known = packages_distributions().items()
    return sorted(
        module
        for module, owners in known
        if all(re.sub(r"[-_.]+", "-", owner).lower() in extra for owner in owners)
    )


def run_without_extras(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which importing any development module fails."""
    block = f"import sys; sys.modules.update(dict.fromkeys({development_modules()!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", block + program], capture_output=True, text=True, check=False
    )


def test_the_extras_are_told_apart() -> None:
    assert {"pytest", "confluent_kafka", "mypy"} <= set(development_modules())
    assert not {"aiokafka", "msgspec", "sqlalchemy"} & set(development_modules())
    assert "confluent_kafka" in run_without_extras("import confluent_kafka").stderr


@pytest.mark.parametrize("service", SERVING)
def test_a_service_starts_without_development_extras(service: str) -> None:
    done = run_without_extras(f"import services.{service}.app")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["main", "processes", "inspect", "send"])
def test_a_command_runs_without_development_extras(module: str) -> None:
    done = run_without_extras(f"import services.cli.{module}")
    assert done.returncode == 0, done.stderr
