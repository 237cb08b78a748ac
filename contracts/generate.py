"""`python -m contracts.generate [--check]`: the AsyncAPI document and the JSON Schemas of our wire."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from contracts import changes, examples, wire
from contracts.nudge import Nudge
from contracts.schemas import (
    DATA,
    OUT,
    Json,
    binary_headers,
    dead_letter_headers,
    envelope,
    json_schema,
    nudge_schema,
    schemas,
    titled,
)
from contracts.topics import Topics

FOLDER: Final = Path(__file__).parent / "generated"
CONTRACT_VERSION: Final = "1.0.0"


def _summary(type_name: str) -> str:
    return (DATA[type_name].__doc__ or type_name).partition("\n")[0]


def _name(type_name: str) -> str:
    """`livecard.activity.opened` → `activityOpened`."""
    _, what, happened = type_name.split(".")
    return f"{what}{happened.capitalize()}"


def _title(type_name: str) -> str:
    """`livecard.activity.opened` → `ActivityOpened`."""
    name = _name(type_name)
    return f"{name[0].upper()}{name[1:]}"


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_KEYED: Final[Json] = {
    "kafka": {
        "key": {"type": "string", "description": "the activity_id, in UTF-8"},
        "bindingVersion": "0.5.0",
    }
}


def _structured(type_name: str) -> Json:
    return {
        "name": type_name,
        "title": f"{_title(type_name)}Event",
        "summary": _summary(type_name),
        "contentType": changes.CONTENT_TYPE,
        "payload": _ref(f"{_title(type_name)}Event"),
        "bindings": _KEYED,
        "examples": [{"payload": examples.structured(type_name)}],
    }


def _binary(type_name: str) -> Json:
    headers, data = examples.binary(type_name)
    return {
        "name": f"{type_name} (binary mode)",
        "title": f"{_title(type_name)}Binary",
        "summary": _summary(type_name),
        "contentType": changes.DATA_CONTENT_TYPE,
        "headers": _ref(f"{_title(type_name)}Headers"),
        "payload": _ref(DATA[type_name].__name__),
        "bindings": _KEYED,
        "examples": [{"headers": headers, "payload": data}],
    }


def _dead_letter() -> Json:
    headers, value = examples.dead_letter()
    return {
        "name": "dead letter",
        "title": "DeadLetter",
        "summary": "A record that could not count: its bytes, headers and key, and why.",
        "contentType": "application/octet-stream",
        "headers": _ref("DeadLetterHeaders"),
        "payload": _ref("DeadLetterValue"),
        "examples": [{"headers": headers, "payload": value}],
    }


def _messages() -> dict[str, dict[str, Json]]:
    """The messages of each channel."""
    nudge: Json = {
        "name": "nudge",
        "title": "Nudge",
        "summary": "Look at this activity now; losing one costs latency only.",
        "contentType": "application/json",
        "payload": _ref("Nudge"),
        "bindings": _KEYED,
        "examples": [{"payload": examples.nudge()}],
    }
    inbound = {_name(type_name): _structured(type_name) for type_name in wire.WIRE}
    inbound |= {f"{_name(type_name)}Binary": _binary(type_name) for type_name in wire.WIRE}
    return {
        "activityEvents": inbound,
        "cardNudges": {"nudge": nudge},
        "activityChanges": {_name(type_name): _structured(type_name) for type_name in OUT},
        "activityEventsDead": {"deadLetter": _dead_letter()},
    }


def _components() -> Json:
    """Every schema by its name, which is its title too: model generators name their types so."""
    named = schemas([*DATA.values(), Nudge], "#/components/schemas")
    for type_name, kind in DATA.items():
        event = envelope(type_name, _ref(kind.__name__), out=type_name in OUT)
        named[f"{_title(type_name)}Event"] = event
        if type_name in wire.WIRE:
            named[f"{_title(type_name)}Headers"] = binary_headers(type_name)
    named["DeadLetterHeaders"] = dead_letter_headers()
    named["DeadLetterValue"] = {"description": "the original bytes"}
    return {name: titled(name, schema) for name, schema in sorted(named.items())}


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
            "schemas": _components(),
        },
    }


def documents() -> dict[str, str]:
    """Every generated file's name and text."""
    made = {"asyncapi.json": asyncapi()}
    made |= {f"{type_name}.schema.json": json_schema(type_name) for type_name in DATA}
    made["nudge.schema.json"] = nudge_schema()
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
