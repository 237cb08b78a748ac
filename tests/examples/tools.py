"""Toolchains of other languages: what runs an example, or a skip that says why not."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

import pytest

from scripts.engines import npm
from scripts.patience import PATIENCE
from tests.engines.support import REQUIRED

VERSION: Final = {"go": ["version"], "java": ["--version"], "node": ["--version"], "python3": ["--version"]}

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a JVM that compiles one file and runs it once: half the time."""


def needed(tool: str, oldest: tuple[int, ...]) -> str:
    """The tool's name; skips where it is not installed or older."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    answer = subprocess.run(
        [tool, *VERSION[tool]], capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    found = re.search(r"\d+(?:\.\d+)*", answer)
    version = tuple(int(part) for part in found[0].split(".")) if found else ()
    if version < oldest:
        pytest.skip(
            f"{tool} is too old: {answer.strip()}, and the example needs {'.'.join(map(str, oldest))}"
        )
    return tool


def needed_npm() -> None:
    """Skips without npm, and fails where engines are required."""
    reason = npm.missing()
    if reason and REQUIRED:
        pytest.fail(f"npm is required by LIVECARD_REQUIRE_ENGINES: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"NPM IS MISSING: {reason}")
