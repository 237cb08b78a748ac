"""The fields of events, changes and headers, as tables and examples from contracts/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from contracts import changes, examples, schemas, wire
from contracts.decode import REQUIRED
from contracts.records import LIVECARD_PREFIX
from scripts.diagrams.languages import Say, english
from scripts.diagrams.mermaid import markdown

_ATTRIBUTES: Final = {
    "specversion": "the version of CloudEvents",
    "id": "`(source, id)` makes the event unique: sent again, it counts once",
    "source": "who publishes it, such as `/signup`",
    "type": "one of the types below; another one is dead-lettered",
    "subject": "the `activity_id`; also the record's key",
    "time": "when it happened, by the producer's clock; a time in the future counts as now",
}


def attributes(say: Say = english) -> str:
    """CloudEvents' attributes, and the headers that they are in binary mode."""
    rows = [
        [f"`{name}`", f"`ce_{name}`", say(wire.EXPECTED[name]), say(_ATTRIBUTES[name])] for name in REQUIRED
    ]
    last = ("the record's value", "an object, by type", "`data_base64` holds it as JSON in base64")
    rows.append(["`data`", *(say(words) for words in last)])
    head = ("structured mode", "header in binary mode", "required: always", "means")
    return _table(head, rows, say)


def inbound(say: Say = english) -> str:
    """Each event that livecard takes in: what it means, its fields, and an example."""
    return "\n\n".join(_event(type_name, say) for type_name in wire.WIRE)


def _event(type_name: str, say: Say) -> str:
    defs = schemas.json_schema(type_name)["$defs"]
    kind = defs[wire.WIRE[type_name].__name__]
    rows, required = [], kind.get("required", ())
    for name, schema in kind["properties"].items():
        rows.append(_field(f"data.{name}", schema, say, needed=name in required))
        if name == "room":
            room = defs["RoomData"]["properties"]
            rows += [_field(f"data.room.{each}", below, say) for each, below in room.items()]
    head = ("field", "required", "is", "left out", "means")
    text = json.dumps(examples.structured(type_name), ensure_ascii=False, indent=2)
    words = _paragraphs(kind["description"], say)
    return f"### {type_name}\n\n{words}\n\n{_table(head, rows, say)}\n\n```json\n{text}\n```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], say: Say) -> str:
    return markdown([say(words) for words in head], rows)


def _paragraphs(text: str, say: Say) -> str:
    """A docstring's text, one line for each paragraph."""
    return "\n\n".join(say(" ".join(paragraph.split())) for paragraph in text.split("\n\n"))


def _field(path: str, schema: dict[str, Any], say: Say, *, needed: bool = False) -> list[str]:
    default = schema.get("default")
    without = "" if needed or default is None else f"`{json.dumps(default)}`"
    name = path.removeprefix("data.")
    means = say(schema.get("description", ""))
    return [f"`{name}`", say("yes") if needed else "", say(wire.EXPECTED[path]), without, means]


def outbound(say: Say = english) -> str:
    """The data of each change that livecard publishes."""
    parts = []
    for kind, type_name in changes.CHANGE_TYPES.items():
        defs = schemas.json_schema(type_name)["$defs"]
        schema = defs[kind.__name__]
        rows = [
            [f"`{name}`", say("yes") if name in schema["required"] else "", _kind(each, say)]
            for name, each in schema["properties"].items()
        ]
        words = f"\n\n{_paragraphs(schema['description'], say)}" if "description" in schema else ""
        parts.append(f"### {type_name}{words}\n\n{_table(('field', 'always', 'is'), rows, say)}")
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any], say: Say) -> str:
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "$ref" in schema:
        return say("`source`, `id` and `type` of the event")
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = {"array": "array of strings"}
    return say(", or ").join(say(words.get(str(each), str(each))) for each in kinds)


def dead_letters(say: Say = english) -> str:
    """The headers that a dead letter has beside its producer's."""
    rows = []
    headers = schemas.dead_letter_headers()["properties"]
    for name, schema in headers.items():
        if "enum" in schema:
            is_ = _kind(schema, say)
        elif name == f"{LIVECARD_PREFIX}topic":
            is_ = say("of the record")
        else:
            is_ = say(schema.get("description", "of the record, in decimal"))
        rows.append([f"`{name}`", is_])
    return _table(("header", "is"), rows, say)
