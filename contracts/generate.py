"""`python -m contracts.generate [--check]`: the AsyncAPI document and the JSON Schemas of our wire."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts import changes, events, wire
from contracts.nudge import Nudge
from contracts.records import LIVECARD_PREFIX
from contracts.topics import Topics

FOLDER: Final = Path(__file__).parent / "generated"
CONTRACT_VERSION: Final = "1.0.0"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = dict[str, Any]

_ID: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": events.LONGEST_ID,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
}
_TIME: Json = {"type": "string", "format": "date-time"}
_SUBJECT = {**_ID, "description": "the activity_id, which is the record's key too"}

_OUT = {name: kind for kind, name in changes.CHANGE_TYPES.items()}
_DATA: dict[str, type[msgspec.Struct]] = {**wire.WIRE, **_OUT}


def _exactly_one(*names: str) -> list[Json]:
    return [{"required": [name], "properties": {name: {"type": "string"}}} for name in names]


def _schemas(kinds: list[type[msgspec.Struct]], refs: str) -> Json:
    """The schemas of Structs and of what they use, by name."""
    _, named = msgspec.json.schema_components(kinds, ref_template=f"{refs}/{{name}}")
    for schema in named.values():  # Python 3.13 dedents docstrings itself, older ones do not
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    if "RoomData" in named:
        named["RoomData"]["oneOf"] = _exactly_one("opengid", "open_single_roomid")
    return dict(named)


def _envelope(type_name: str, data: Json, *, out: bool) -> Json:
    """A CloudEvent in structured mode."""
    properties: Json = {
        "specversion": {"const": "1.0"},
        "id": {**_ID, "description": "unique within the source"},
        "source": {"const": changes.SOURCE} if out else _ID,
        "type": {"const": type_name},
        "subject": _SUBJECT,
        "time": {**_TIME, "description": "when it happened"},
        "data": data,
    }
    if out:
        properties["datacontenttype"] = {"const": changes.DATA_CONTENT_TYPE}
    needed = list(properties)
    if type_name == events.CLOSED:  # its only field is optional, so its data is
        properties["data"] = {"anyOf": [data, {"type": "null"}]}
        needed.remove("data")
    return {"type": "object", "properties": properties, "required": needed}


def _summary(type_name: str) -> str:
    return (_DATA[type_name].__doc__ or type_name).partition("\n")[0]


def _name(type_name: str) -> str:
    """`livecard.activity.opened` → `activityOpened`."""
    _, what, happened = type_name.split(".")
    return f"{what}{happened.capitalize()}"


def _structured(type_name: str) -> Json:
    out = type_name in _OUT
    data = {"$ref": f"#/components/schemas/{_DATA[type_name].__name__}"}
    return {
        "name": type_name,
        "summary": _summary(type_name),
        "contentType": changes.CONTENT_TYPE,
        "payload": _envelope(type_name, data, out=out),
    }


def _binary(type_name: str) -> Json:
    attributes = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _ID,
        "ce_source": _ID,
        "ce_type": {"const": type_name},
        "ce_subject": _SUBJECT,
        "ce_time": _TIME,
    }
    return {
        "name": f"{type_name} (binary mode)",
        "summary": _summary(type_name),
        "contentType": changes.DATA_CONTENT_TYPE,
        "headers": {"type": "object", "properties": attributes, "required": list(attributes)},
        "payload": {"$ref": f"#/components/schemas/{_DATA[type_name].__name__}"},
    }


def _dead_letter() -> Json:
    headers: Json = {
        "reason": {"enum": ["malformed", "invalid", "unknown_type", "unprocessable", "parked_too_long"]},
        "error": {"type": "string", "description": "what is wrong and where, in the producer's terms"},
        "topic": {"type": "string"},
        "partition": {"type": "string", "pattern": "^[0-9]+$"},
        "offset": {"type": "string", "pattern": "^[0-9]+$"},
        "time": {**_TIME, "description": "when it was dead-lettered"},
    }
    named = {f"{LIVECARD_PREFIX}{name}": schema for name, schema in headers.items()}
    return {
        "name": "dead letter",
        "summary": "A record that could not count: its bytes, headers and key, and why.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "properties": named, "required": list(named)},
        "payload": {"description": "the original bytes"},
    }


def _messages() -> dict[str, dict[str, Json]]:
    """The messages of each channel."""
    nudge: Json = {
        "name": "nudge",
        "summary": "Look at this activity now; losing one costs latency only.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Nudge"},
    }
    inbound = {_name(type_name): _structured(type_name) for type_name in wire.WIRE}
    inbound |= {f"{_name(type_name)}Binary": _binary(type_name) for type_name in wire.WIRE}
    return {
        "activityEvents": inbound,
        "cardNudges": {"nudge": nudge},
        "activityChanges": {_name(type_name): _structured(type_name) for type_name in _OUT},
        "activityEventsDead": {"deadLetter": _dead_letter()},
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def asyncapi() -> Json:
    """The AsyncAPI 3.0 document, seen from livecard: it receives events and sends changes."""
    topics = Topics()
    addresses = {
        "activityEvents": (topics.events, "What happened, from other services; keyed by activity_id."),
        "cardNudges": (topics.nudges, "Between livecard's own services, best effort."),
        "activityChanges": (topics.changes, "What changed, was delivered, failed or was refused."),
        "activityEventsDead": (topics.dead, "Records that could not count."),
    }
    messages = _messages()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "livecard",
            "version": CONTRACT_VERSION,
            "description": "Events in, changes out. LIVECARD_TOPIC_PREFIX precedes every address.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": changes.CONTENT_TYPE,
        "channels": {
            channel: {
                "address": address,
                "description": description,
                "messages": {
                    name: {"$ref": f"#/components/messages/{channel}.{name}"} for name in messages[channel]
                },
            }
            for channel, (address, description) in addresses.items()
        },
        "operations": {
            "receiveEvents": _operation("receive", "activityEvents", "Count each event once."),
            "sendNudges": _operation("send", "cardNudges", "Wake the dispatcher."),
            "receiveNudges": _operation("receive", "cardNudges", "Look at the activity now."),
            "sendChanges": _operation("send", "activityChanges", "Tell what became of the events."),
            "sendDeadLetters": _operation("send", "activityEventsDead", "Hand back what cannot count."),
        },
        "components": {
            "messages": {
                f"{channel}.{name}": message
                for channel, named in messages.items()
                for name, message in named.items()
            },
            "schemas": _schemas([*_DATA.values(), Nudge], "#/components/schemas"),
        },
    }


def json_schema(type_name: str) -> Json:
    """The JSON Schema of one type of event or change in structured mode."""
    kind = _DATA[type_name]
    return {
        "$schema": _DIALECT,
        "title": type_name,
        **_envelope(type_name, {"$ref": f"#/$defs/{kind.__name__}"}, out=type_name in _OUT),
        "$defs": _schemas([kind], "#/$defs"),
    }


def documents() -> dict[str, str]:
    """Every generated file's name and text."""
    made = {"asyncapi.json": asyncapi()}
    made |= {f"{type_name}.schema.json": json_schema(type_name) for type_name in _DATA}
    made["nudge.schema.json"] = {
        "$schema": _DIALECT,
        "$ref": "#/$defs/Nudge",
        "$defs": _schemas([Nudge], "#/$defs"),
    }
    return {name: json.dumps(body, indent=2, ensure_ascii=False) + "\n" for name, body in made.items()}


def drift(folder: Path) -> list[str]:
    """The names of files in `folder` that are missing, outdated or not ours."""
    made = documents()
    there = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def write(folder: Path) -> None:
    """Bring `folder` up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in drift(folder):
        (folder / name).unlink(missing_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m contracts.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is outdated")
    if not parser.parse_args().check:
        write(FOLDER)
        return 0
    outdated = drift(FOLDER)
    if outdated:
        sys.stderr.write(f"outdated: {', '.join(outdated)}; run python -m contracts.generate\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
