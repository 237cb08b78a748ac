"""The generated documents are current, whole, and say what the decoder does."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from contracts import generate, schemas
from contracts.changes import CHANGE_TYPES, ActivityChanged, CardFailed, encode_change
from contracts.records import SHA256_HEADER, SIZE_HEADER
from contracts.topics import Topics
from contracts.wire import EXPECTED, WIRE


def test_the_committed_files_are_current():
    assert generate.drift(generate.FOLDER) == []


def test_check_fails_on_drift_and_generating_heals_it(tmp_path):
    assert len(generate.drift(tmp_path)) == 13
    generate.write(tmp_path)
    assert generate.drift(tmp_path) == []
    (tmp_path / "asyncapi.json").write_text("{}", "utf-8")
    (tmp_path / "left-over.schema.json").write_text("{}", "utf-8")
    assert generate.drift(tmp_path) == ["asyncapi.json", "left-over.schema.json"]
    generate.write(tmp_path)
    assert generate.drift(tmp_path) == []


def test_the_command_checks():
    done = subprocess.run(
        [sys.executable, "-m", "contracts.generate", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_documents_do_not_depend_on_the_hash_seed():
    made = {
        subprocess.run(
            [sys.executable, "-c", "from contracts.generate import documents; print(documents())"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(made) == 1


def _descriptions(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _descriptions(item)]
    if not isinstance(value, dict):
        return []
    own = [value["description"]] if isinstance(value.get("description"), str) else []
    return own + [text for item in value.values() for text in _descriptions(item)]


@pytest.mark.parametrize("name", sorted(generate.documents()))
def test_the_words_do_not_depend_on_whether_python_dedents_docstrings(name):
    """Python 3.13 and later dedent them when they compile, 3.11 and 3.12 do not."""
    for text in _descriptions(json.loads(generate.documents()[name])):
        assert text == inspect.cleandoc(text)


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [ref for item in value.values() for ref in _references(item)]


def _resolved(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        document = document[step]
    return document


@pytest.mark.parametrize("name", sorted(generate.documents()))
def test_every_reference_leads_somewhere(name):
    document = json.loads(generate.documents()[name])
    for reference in _references(document):
        assert _resolved(document, reference)


def test_the_asyncapi_document_names_every_topic_message_and_direction():
    document = generate.asyncapi()
    topics = Topics()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    channels = document["channels"]
    assert {channel["address"] for channel in channels.values()} == {
        topics.events,
        topics.nudges,
        topics.changes,
        topics.dead,
    }
    actions = {
        (operation["action"], _resolved(document, operation["channel"]["$ref"])["address"])
        for operation in document["operations"].values()
    }
    assert actions == {
        ("receive", topics.events),
        ("send", topics.nudges),
        ("receive", topics.nudges),
        ("send", topics.changes),
        ("send", topics.dead),
    }
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert names >= {*WIRE, *(f"{name} (binary mode)" for name in WIRE), *CHANGE_TYPES.values(), "nudge"}
    dead = document["components"]["schemas"]["DeadLetterHeaders"]
    assert {*dead["properties"]} - {*dead["required"]} == {SIZE_HEADER, SHA256_HEADER}
    assert set(dead["required"]) == {
        f"livecard-{name}" for name in ("reason", "error", "topic", "partition", "offset", "time")
    }


def test_model_generators_find_a_name_for_every_type_they_make():
    """Each message's schemas are named components; what else becomes a type has a title of its own."""
    components = generate.asyncapi()["components"]
    for message in components["messages"].values():
        for part in {"payload", "headers"} & message.keys():
            assert list(message[part]) == ["$ref"]
    titles = [schema["title"] for schema in components["schemas"].values()]
    assert titles == list(components["schemas"])
    for schema in components["schemas"].values():
        fields = schema.get("properties", {}).values()
        titles += [each["title"] for each in fields if each.keys() & {"anyOf", "oneOf", "enum", "properties"}]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", sorted(generate.documents()))
def test_every_schema_is_a_schema(name):
    document = json.loads(generate.documents()[name])
    schemas = document["components"]["schemas"].values() if name == "asyncapi.json" else [document]
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)


def _fits(value: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(schemas.json_schema(value["type"])).is_valid(value)


@pytest.mark.parametrize(
    "data",
    [
        ActivityChanged(state="open", previous=None, reason="opened", revision=1, done=0, participants=None),
        CardFailed(revision=2, verdict="rejected", errcode=47502, errmsg="", rid=None),
        CardFailed(revision=2, verdict="rejected", errcode=47502, errmsg="", rid=None, members=("a",)),
    ],
)
def test_changes_fit_their_schemas(data):
    assert _fits(json.loads(encode_change("c", "a", 1_795_248_000_000_000, data)))


def test_every_field_has_words_for_its_producer():
    fields = {f"data.{name}" for kind in WIRE.values() for name in kind.__struct_fields__}
    assert fields <= set(EXPECTED)
