"""The fields of events, changes and headers, as tables and examples from contracts/."""

from __future__ import annotations

import json
from typing import Any, Final

from contracts import changes, events, schemas, wire
from contracts.decode import REQUIRED
from contracts.records import LIVECARD_PREFIX
from scripts.diagrams.mermaid import markdown

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    events.OPENED: {
        "appid": "wx1",
        "template": "complete",
        "expires_at": "2026-11-22T08:00:00Z",
        "version": "release",
        "title": "团建报名统计",
        "publisher": "gp-cindy",
        "room": {"opengid": "g-1"},
        "choose": "listed",
        "participants": ["gp-alex", "gp-bob"],
        "deadline": "2026-11-21T18:00:00Z",
        "notice": 3600,
        "close_when_complete": False,
        "continues": None,
    },
    events.RESCHEDULED: {"deadline": "2026-11-21T20:00:00+08:00", "notice": 600},
    events.CLOSED: {"note": "rained off"},
    events.COMPLETED: {"members": ["gp-alex", "gp-bob"], "openids": ["oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"]},
    events.ADDED: {"members": ["gp-dora"], "openids": ["oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"]},
}

_ATTRIBUTES: Final = {
    "specversion": "",
    "id": "`(source, id)` makes the event unique: sent again, it counts once",
    "source": "who publishes it, such as `/signup`",
    "type": "one of the types below; another one is dead-lettered",
    "subject": "the `activity_id`; also the record's key",
    "time": "when it happened, by the producer's clock; a time in the future counts as now",
}


def attributes() -> str:
    """CloudEvents' attributes, and the headers that they are in binary mode."""
    rows = [[f"`{name}`", f"`ce_{name}`", wire.EXPECTED[name], _ATTRIBUTES[name]] for name in REQUIRED]
    rows.append(
        ["`data`", "the record's value", "an object, by type", "`data_base64` holds it as JSON in base64"]
    )
    return markdown(["structured mode", "header in binary mode", "required: always", "means"], rows)


def inbound() -> str:
    """Each event that livecard takes in: what it means, its fields, and an example."""
    return "\n\n".join(_event(type_name, f"e-{number}") for number, type_name in enumerate(wire.WIRE, 1))


def _event(type_name: str, id_: str) -> str:
    defs = schemas.json_schema(type_name)["$defs"]
    kind = defs[wire.WIRE[type_name].__name__]
    rows, required = [], kind.get("required", ())
    for name, schema in kind["properties"].items():
        rows.append(_field(f"data.{name}", schema, needed=name in required))
        if name == "room":
            rows += [
                _field(f"data.room.{each}", below) for each, below in defs["RoomData"]["properties"].items()
            ]
    head = ["field", "required", "is", "left out", "means"]
    example = {
        "specversion": "1.0",
        "id": id_,
        "source": "/signup",
        "type": type_name,
        "subject": "966_NGiq",
        "time": "2026-11-21T08:00:00Z",
        "data": EXAMPLES[type_name],
    }
    text = json.dumps(example, ensure_ascii=False, indent=2)
    return f"### {type_name}\n\n{kind['description']}\n\n{markdown(head, rows)}\n\n```json\n{text}\n```"


def _field(path: str, schema: dict[str, Any], *, needed: bool = False) -> list[str]:
    default = schema.get("default")
    without = "" if needed or default is None else f"`{json.dumps(default)}`"
    name = path.removeprefix("data.")
    return [f"`{name}`", "yes" if needed else "", wire.EXPECTED[path], without, schema.get("description", "")]


def outbound() -> str:
    """The data of each change that livecard publishes."""
    parts = []
    for kind, type_name in changes.CHANGE_TYPES.items():
        defs = schemas.json_schema(type_name)["$defs"]
        schema = defs[kind.__name__]
        rows = [
            [f"`{name}`", "yes" if name in schema["required"] else "", _kind(each)]
            for name, each in schema["properties"].items()
        ]
        words = f"\n\n{schema['description']}" if "description" in schema else ""
        parts.append(f"### {type_name}{words}\n\n{markdown(['field', 'always', 'is'], rows)}")
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "$ref" in schema:
        return "`source`, `id` and `type` of the event"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = {"array": "array of strings"}
    return ", or ".join(words.get(str(each), str(each)) for each in kinds)


def dead_letters() -> str:
    """The headers that a dead letter has beside its producer's."""
    rows = []
    headers = schemas.dead_letter_headers()["properties"]
    for name, schema in headers.items():
        is_ = _kind(schema) if "enum" in schema else schema.get("description", "of the record, in decimal")
        rows.append([f"`{name}`", "of the record" if name == f"{LIVECARD_PREFIX}topic" else is_])
    return markdown(["header", "is"], rows)
