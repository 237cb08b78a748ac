"""The official validators accept what we publish about our wire: the AsyncAPI parser and Ajv, from npm."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from contracts import examples, generate, schemas
from scripts.engines.npm import node_modules
from scripts.patience import PATIENCE
from tests.contracts.refusals import REFUSALS
from tests.contracts.samples import DATA, event
from tests.examples.tools import needed_npm

HERE: Final = Path(__file__).parent / "npm"
EXAMPLES: Final = [
    *((f"urn:livecard:{type_name}", examples.structured(type_name)) for type_name in schemas.DATA),
    ("urn:livecard:nudge", examples.nudge()),
]
WRONG: Final = [(f"urn:livecard:{type_name}", event(type_name, data)) for type_name, data, _ in REFUSALS]
RIGHT: Final = [*EXAMPLES, *((f"urn:livecard:{type_name}", event(type_name)) for type_name in DATA)]
ERROR, WARNING = 0, 1
"""The parser's severities; 2 is information, 3 a hint."""


def with_wrong_examples() -> dict[str, Any]:
    """In a value, in a header, and one that is missing."""
    document = copy.deepcopy(generate.asyncapi())
    messages = document["components"]["messages"]
    del messages["activityEvents.participantAdded"]["examples"][0]["payload"]["id"]
    messages["activityEvents.activityClosedBinary"]["examples"][0]["headers"]["ce_time"] = "now"
    del messages["cardNudges.nudge"]["examples"]
    return document


def with_mistakes() -> dict[str, Any]:
    """A part that is missing, a word that is not AsyncAPI's."""
    document = copy.deepcopy(generate.asyncapi())
    del document["info"]["version"]
    document["operations"]["receiveEvents"]["action"] = "swallow"
    return document


@pytest.fixture(scope="module")
def told() -> Any:
    """What validate.mjs answers, asked once for all."""
    needed_npm()
    every = [json.loads(text) for name, text in generate.documents().items() if name != "asyncapi.json"]
    asked = {
        "documents": [generate.asyncapi(), with_wrong_examples(), with_mistakes()],
        "schemas": {each["$id"]: each for each in every},
        "values": [*RIGHT, *WRONG],
    }
    done = subprocess.run(
        ["node", str(HERE / "validate.mjs"), str(node_modules(HERE))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_parser_accepts_the_document_and_ajv_every_example_in_it(told: Any) -> None:
    ours, document = told["documents"][0], generate.asyncapi()
    assert [each for each in ours["diagnostics"] if each["severity"] <= WARNING] == []
    assert ours["examples"] == {}
    assert {*ours["channels"]} == {channel["address"] for channel in document["channels"].values()}
    assert {*ours["messages"]} == {each["name"] for each in document["components"]["messages"].values()}


def test_ajv_accepts_every_schema_and_by_them_what_the_decoder_accepts_and_nothing_else(told: Any) -> None:
    """So its reading of our patterns and conditions is the decoder's, too."""
    assert told["schemas"] == {}
    assert told["values"] == [True] * len(RIGHT) + [False] * len(WRONG)


def test_a_mistake_in_an_example_is_seen(told: Any) -> None:
    """The test of the test."""
    assert {*told["documents"][1]["examples"]} == {
        "activityEvents.participantAdded: payload",
        "activityEvents.activityClosedBinary: headers",
        "cardNudges.nudge: payload",
    }


def test_a_mistake_in_the_document_is_seen(told: Any) -> None:
    """The test of the test."""
    wrong = {tuple(each["path"]) for each in told["documents"][2]["diagnostics"] if each["severity"] == ERROR}
    assert {("info",), ("operations", "receiveEvents", "action")} <= wrong
