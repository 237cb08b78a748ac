"""What docs/events.md tells producers to send is read as they mean it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from contracts import examples
from contracts.decode import decode
from contracts.events import Completed, Event
from contracts.wire import WIRE
from scripts.diagrams.snippets import PRODUCERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The page's code of a language."""
    return re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)


def test_every_type_has_an_example_that_livecard_reads_and_that_names_every_field() -> None:
    shown = [json.loads(each) for each in blocks(PAGE, "json")]
    assert [each["type"] for each in shown] == list(WIRE) == list(examples.DATA)
    for each in shown:
        assert isinstance(decode(json.dumps(each).encode()), Event)
        assert {*each["data"]} == {*WIRE[each["type"]].__struct_fields__}
    assert len({each["id"] for each in shown}) == len(shown)


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


def test_both_pages_show_every_producer_whole() -> None:
    """`tests/examples/test_producers.py` runs them."""
    chinese = (ROOT / "docs" / "zh-CN" / "events.md").read_text("utf-8")
    for language, program in PRODUCERS.values():
        shown = program.read_text("utf-8").rstrip()
        assert shown in blocks(PAGE, language)
        assert shown in blocks(chinese, language)
