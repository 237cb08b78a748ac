"""The example producers publish on a real broker what livecard reads, each where its toolchain is found."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from contracts.decode import decode
from contracts.events import COMPLETED, Completed, Event
from contracts.topics import Topics
from scripts.diagrams.snippets import PRODUCERS
from scripts.engines.kafka import fetch_jars, java_command
from scripts.engines.npm import node_modules
from scripts.patience import PATIENCE
from tests.examples.tools import SHORT_LIVED, needed, needed_npm
from tests.kafka.reading import read_all, settings_for

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parents[2]
BINARY: Final = {"java", "go"}


def _python(program: Path, _: Path) -> list[str]:
    return [sys.executable, str(program)]


def _checked(program: Path, folder: Path) -> list[str]:
    """`contracts`, msgspec and the Kafka client on the path, and no other package; site-packages are not."""
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    for name in ("msgspec", "confluent_kafka"):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        place = Path(found.origin).parent
        for each in place.parent.glob(f"{place.name}*"):
            if not each.name.endswith(".dist-info"):
                (folder / each.name).symlink_to(each)
    shutil.copy(program, folder)
    return [sys.executable, "-S", "-s", str(folder / program.name)]


def _java(program: Path, _: Path) -> list[str]:
    java = java_command()
    if java is None:
        pytest.skip("java is not installed")
    return [java, *SHORT_LIVED, "-cp", f"{fetch_jars()}/*", str(program)]


def _go(program: Path, _: Path) -> list[str]:
    return [needed("go", (1, 25)), "run", "-C", str(program.parent), "."]


def _node(program: Path, folder: Path) -> list[str]:
    needed_npm()
    (folder / "node_modules").symlink_to(node_modules(program.parent))
    shutil.copy(program, folder)
    return ["node", str(folder / program.name)]


RUN: Final[dict[str, Callable[[Path, Path], list[str]]]] = {
    "python": _python,
    "python with contracts": _checked,
    "java": _java,
    "go": _go,
    "javascript": _node,
}


@pytest.mark.parametrize("name", PRODUCERS)
async def test_a_producer_publishes_what_livecard_reads(
    name: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    _, program = PRODUCERS[name]
    command = RUN[name](program, tmp_path)
    await settings_for(kafka, topic_prefix)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "LIVECARD_KAFKA": kafka, "LIVECARD_TOPIC_PREFIX": topic_prefix},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    (record,) = await read_all(kafka, Topics(topic_prefix).events, 1)
    read = decode(record.value, record.headers)
    assert isinstance(read, Event), read
    assert (read.source, read.type, read.data) == ("/signup", COMPLETED, Completed(("gp-bob",)))
    assert record.key == read.activity_id.encode() == b"966_NGiq"
    assert ("ce_specversion" in dict(record.headers)) == (name in BINARY)
