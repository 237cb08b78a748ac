"""The official validators accept what we publish about our wire: the AsyncAPI parser and Ajv, from npm."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from contracts import examples, generate, schemas
from scripts.engines.npm import missing, node_modules
from scripts.patience import PATIENCE
from tests.contracts.refusals import REFUSALS
from tests.contracts.samples import DATA, event
from tests.engines.support import REQUIRED

HERE: Final = Path(__file__).parent / "npm"
EXAMPLES: Final = [examples.structured(type_name) for type_name in schemas.DATA]
ERROR = 0
"""The parser's severities: 0 an error, 1 a warning, 2 information, 3 a hint."""


def judged(document: Any, values: list[tuple[str, Any]]) -> Any:
    """What validate.mjs answers of a document, all schemas, and values, each with its schema's `$id`."""
    if reason := missing():
        if REQUIRED:
            pytest.fail(f"npm is required by LIVECARD_REQUIRE_ENGINES: {reason}", pytrace=False)
        pytest.skip(f"NPM IS MISSING: {reason}")
    every = [json.loads(text) for name, text in generate.documents().items() if name != "asyncapi.json"]
    asked = {"document": document, "schemas": {each["$id"]: each for each in every}, "values": values}
    told = subprocess.run(
        ["node", str(HERE / "validate.mjs"), str(node_modules(HERE))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_the_validators_accept_the_document_every_schema_and_every_example() -> None:
    document = generate.asyncapi()
    values = [(f"urn:livecard:{each['type']}", each) for each in EXAMPLES]
    told = judged(document, [*values, ("urn:livecard:nudge", examples.nudge())])
    assert [each for each in told["diagnostics"] if each["severity"] <= 1] == []
    assert told["schemas"] == {}
    assert told["examples"] == {}
    assert told["values"] == [True] * (len(values) + 1)
    assert {*told["channels"]} == {channel["address"] for channel in document["channels"].values()}
    assert {*told["messages"]} == {each["name"] for each in document["components"]["messages"].values()}


def test_ajv_refuses_what_the_decoder_refuses() -> None:
    """So its reading of our patterns and conditions is the decoder's, too."""
    wrong = [(f"urn:livecard:{type_name}", event(type_name, data)) for type_name, data, _ in REFUSALS]
    right = [(f"urn:livecard:{type_name}", event(type_name)) for type_name in DATA]
    told = judged(generate.asyncapi(), [*wrong, *right])
    assert told["values"] == [False] * len(wrong) + [True] * len(right)


def test_a_mistake_in_an_example_is_seen() -> None:
    """The test of the test: in a value, in a header, and one that is missing."""
    document = copy.deepcopy(generate.asyncapi())
    messages = document["components"]["messages"]
    del messages["activityEvents.participantAdded"]["examples"][0]["payload"]["id"]
    messages["activityEvents.activityClosedBinary"]["examples"][0]["headers"]["ce_time"] = "now"
    del messages["cardNudges.nudge"]["examples"]
    told = judged(document, [])
    assert {*told["examples"]} == {
        "activityEvents.participantAdded: payload",
        "activityEvents.activityClosedBinary: headers",
        "cardNudges.nudge: payload",
    }


def test_a_mistake_in_the_document_is_seen() -> None:
    """The test of the test: a part that is missing, a word that is not AsyncAPI's."""
    document = copy.deepcopy(generate.asyncapi())
    del document["info"]["version"]
    document["operations"]["receiveEvents"]["action"] = "swallow"
    told = judged(document, [])
    wrong = {tuple(each["path"]) for each in told["diagnostics"] if each["severity"] == ERROR}
    assert {("info",), ("operations", "receiveEvents", "action")} <= wrong
