"""The release before, taken from the repository's own history."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ABSENT = pytest.StashKey[str]()


@dataclass(frozen=True)
class Release:
    """A release: `tree` is where its code lies unpacked, `schema` the migration it needs."""

    version: str
    commit: str
    schema: str
    tree: Path


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


ENTRY = Path("services", "cli", "main.py")
"""What the installed console script imports."""
OLD_ENTRY = Path("services", "command", "main.py")


def _give_todays_entry(tree: Path) -> None:
    """Let the console script of this release start the one in the tree, wherever that has its own."""
    if not (tree / ENTRY).exists():
        assert (tree / OLD_ENTRY).exists()
        (tree / ENTRY).parent.mkdir()
        (tree / ENTRY).with_name("__init__.py").touch()
        (tree / ENTRY).write_text("from services.command.main import main as main\n", "utf-8")


@pytest.fixture(scope="session")
def release_before(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The newest entry of releases.toml; skips, loudly, where the history does not go back to it."""
    told: dict[str, Any] = tomllib.loads((HERE / "releases.toml").read_text("utf-8"))["release"][-1]
    archive = _git("archive", "--format=tar", told["commit"])
    if archive.returncode:
        why = f"RELEASE {told['version']} ({told['commit'][:7]}) IS NOT IN THIS CLONE'S HISTORY"
        if _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"false":
            pytest.fail(f"{why}, though it is not a shallow one: releases.toml names no commit of it")
        request.config.stash[ABSENT] = why
        pytest.skip(why)
    tree = tmp_path_factory.mktemp(f"release-{told['version']}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(tree, filter="data")
    _give_todays_entry(tree)
    return Release(told["version"], told["commit"], told["schema"], tree)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell in capitals what could not be proven."""
    if ABSENT in config.stash:
        terminalreporter.section("upgrades")
        terminalreporter.line(
            f"{config.stash[ABSENT]}: NOTHING IS PROVEN ABOUT UPGRADES", red=True, bold=True
        )
