"""What docs/events.md tells producers to send is read as they mean it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.decode import decode
from contracts.events import Completed, Event
from contracts.topics import Topics
from contracts.wire import WIRE
from scripts.diagrams.fields import EXAMPLES
from services.kafka.embedded import EmbeddedKafka
from tests.kafka.reading import read_all

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The page's code of a language."""
    return re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)


def test_every_type_has_an_example_that_livecard_reads_and_that_names_every_field() -> None:
    examples = [json.loads(each) for each in blocks(PAGE, "json")]
    assert [each["type"] for each in examples] == list(WIRE) == list(EXAMPLES)
    for each in examples:
        assert isinstance(decode(json.dumps(each).encode()), Event)
        assert {*each["data"]} == {*WIRE[each["type"]].__struct_fields__}
    assert len({each["id"] for each in examples}) == len(examples)


SNIPPETS = [block for block in blocks(PAGE, "console") if "kcat" in block]


def option(words: list[str], flag: str) -> list[str]:
    """The values of an option, in order."""
    return [words[place + 1] for place, word in enumerate(words) if word == flag]


@pytest.mark.parametrize("block", SNIPPETS)
def test_what_kcat_sends_is_an_event_with_its_activity_as_the_key(block: str) -> None:
    value, kcat = (shlex.split(part) for part in block.replace("\\\n", " ").split("|\n"))
    headers: list[tuple[str, bytes | None]] = [
        (header.partition("=")[0], header.partition("=")[2].encode()) for header in option(kcat, "-H")
    ]
    assert value[0] == "echo"
    read = decode(value[1].encode(), headers)
    assert isinstance(read, Event), read
    assert (read.activity_id, read.data) == ("966_NGiq", Completed(("gp-bob",)))
    assert (option(kcat, "-k"), option(kcat, "-t")) == ([read.activity_id], ["activity.events"])


def test_there_are_snippets_for_both_modes() -> None:
    assert [("ce_specversion" in block) for block in SNIPPETS] == [False, True]


async def test_the_python_snippet_publishes_an_event_with_its_key() -> None:
    pytest.importorskip("confluent_kafka")
    (snippet,) = blocks(PAGE, "python")
    embedded, topic = EmbeddedKafka(), Topics("").events
    kafka = embedded.start([topic])
    try:
        environment: dict[str, Any] = {**os.environ, "LIVECARD_KAFKA": kafka}
        command = [sys.executable, "-c", snippet]
        await asyncio.to_thread(subprocess.run, command, env=environment, check=True, timeout=120)
        (record,) = await read_all(kafka, topic, 1)
    finally:
        embedded.stop()
    read = decode(record.value, record.headers)
    assert isinstance(read, Event), read
    assert (record.key, read.activity_id, read.data) == (b"966_NGiq", "966_NGiq", Completed(("gp-bob",)))


def test_the_java_snippet_names_the_attributes_that_binary_mode_needs() -> None:
    """It is not run: the headers are read out of it."""
    (snippet,) = blocks(PAGE, "java")
    named = dict(re.findall(r'"([a-z_-]+)", ("[^"]*"|[A-Za-z.()]+)[,\n]', snippet))
    given = {name: value.strip('"') for name, value in named.items()}
    assert {
        "ce_id": "UUID.randomUUID().toString()",
        "ce_time": "Instant.now().toString()",
    }.items() <= given.items()
    given |= {"ce_id": "1", "ce_time": "2026-11-21T08:00:00Z"}
    body = json.loads(re.findall(r'"966_NGiq", "(.*)"\);', snippet)[0].replace('\\"', '"'))
    read = decode(json.dumps(body).encode(), [(name, value.encode()) for name, value in given.items()])
    assert isinstance(read, Event), read
    assert (read.activity_id, read.data) == ("966_NGiq", Completed(("gp-bob",)))
