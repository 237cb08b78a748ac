"""JSON Schemas of our wire: they accept what `contracts.decode` accepts; model generators can read them."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import msgspec

from contracts import changes, decode, events, examples, wire
from contracts.nudge import Nudge
from contracts.records import LIVECARD_PREFIX, SHA256_HEADER, SIZE_HEADER, DeadReason

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_URN = "urn:livecard:"

Json = dict[str, Any]


def schema_of(kind: Any) -> Json:
    """The schema of one kind of value on the wire."""
    return dict(msgspec.json.schema(kind))


_ID: Json = schema_of(wire.Id)
_TIME: Json = schema_of(wire.Time)
_SUBJECT = {**_ID, "description": "the activity_id, which is the record's key too"}

OUT = {name: kind for kind, name in changes.CHANGE_TYPES.items()}
DATA: dict[str, type[msgspec.Struct]] = {**wire.WIRE, **OUT}


def _given(name: str) -> Json:
    return {"required": [name], "properties": {name: {"type": "string"}}}


def _listed(name: str) -> Json:
    return {"required": [name], "properties": {name: {"type": "array"}}}


def _null(name: str) -> Json:
    return {"properties": {name: {"type": "null"}}}


def _plain(schema: Any) -> Any:
    """The same with fewer alternatives: model generators make a type of each."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _plain(each) for name, each in schema.items() if (name, each) != ("default", ())}
    among = schema.get("anyOf", [])
    if {"integer", "number"} <= {each.get("type") for each in among if isinstance(each.get("type"), str)}:
        among = [each for each in among if each.get("type") != "number"]  # 3600.0 is an integer for schemas
    if len(among) == 2 and among[1] == {"type": "null"} and "$ref" not in among[0]:
        del schema["anyOf"]
        nullable = (
            {"enum": [*among[0]["enum"], None]}
            if "enum" in among[0]
            else {"type": [among[0]["type"], "null"]}
        )
        schema |= among[0] | nullable
    return schema


def schemas(kinds: list[type[msgspec.Struct]], refs: str) -> Json:
    """The schemas of Structs and of what they use, by name."""
    _, named = msgspec.json.schema_components(kinds, ref_template=f"{refs}/{{name}}")
    for schema in named.values():  # Python 3.13 dedents docstrings itself, older ones do not
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    if "RoomData" in named:  # exactly one of the two is a string
        one, other = "opengid", "open_single_roomid"
        named["RoomData"] |= {"if": _given(one), "then": _null(other), "else": _given(other)}
    for name in {"CompletedData", "AddedData"} & named.keys():  # at least one of the two is an array
        named[name] |= {"if": _listed("members"), "else": _listed("openids")}
    return {name: titled(name, _plain(schema)) for name, schema in named.items()}


def titled(name: str, schema: Json) -> Json:
    """With its name as its title, and a title for what model generators make a type of inside it."""
    for field, each in schema.get("properties", {}).items():
        if each.keys() & {"anyOf", "enum"}:
            each["title"] = f"{name}{field.title().replace('_', '')}"
    return {"title": name, **schema}


def envelope(type_name: str, data: Json, *, out: bool) -> Json:
    """A CloudEvent in structured mode; what comes in may have its data in base64."""
    properties: Json = {
        "specversion": {"const": "1.0"},
        "id": {**_ID, "description": "unique within the source"},
        "source": {"const": changes.SOURCE} if out else _ID,
        "type": {"const": type_name},
        "subject": _SUBJECT,
        "time": {**_TIME, "description": "when it happened"},
        "data": data,
    }
    needed = list(properties)
    if out:
        properties["datacontenttype"] = {"const": changes.DATA_CONTENT_TYPE}
        return {"type": "object", "properties": properties, "required": [*needed, "datacontenttype"]}
    optional = type_name == events.CLOSED  # its only field is optional, so its data is
    properties["data"] = {"anyOf": [data, {"type": "null"}]}
    properties["data_base64"] = {
        "type": ["string", "null"],
        "description": "the data as JSON in base64, instead of `data`",
        "minLength": 4,
        "pattern": decode.BASE64,
        **wire.without("[^A-Za-z0-9+/=]"),
        "contentEncoding": "base64",
        "contentMediaType": changes.DATA_CONTENT_TYPE,
        "contentSchema": properties["data"] if optional else data,
    }
    needed.remove("data")
    plain = {} if optional else {"else": {"required": ["data"], "properties": {"data": data}}}
    return {
        "type": "object",
        "properties": properties,
        "required": needed,
        "if": _given("data_base64"),
        "then": _null("data"),
        **plain,
    }


def binary_headers(type_name: str) -> Json:
    attributes = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _ID,
        "ce_source": _ID,
        "ce_type": {"const": type_name},
        "ce_subject": _SUBJECT,
        "ce_time": _TIME,
    }
    return {"type": "object", "properties": attributes, "required": list(attributes)}


def dead_letter_headers() -> Json:
    headers: Json = {
        "reason": {"enum": list(get_args(DeadReason))},
        "error": {"type": "string", "description": "what is wrong and where, in the producer's terms"},
        "topic": {"type": "string"},
        "partition": {"type": "string", "pattern": "^[0-9]+$"},
        "offset": {"type": "string", "pattern": "^[0-9]+$"},
        "time": {**_TIME, "description": "when it was dead-lettered"},
    }
    named = {f"{LIVECARD_PREFIX}{name}": schema for name, schema in headers.items()}
    of_value: Json = {
        SIZE_HEADER: {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "only of a letter that came without its value, since it was too large: its bytes",
        },
        SHA256_HEADER: {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "of the value that is missing",
        },
    }
    return {"type": "object", "properties": {**named, **of_value}, "required": list(named)}


def json_schema(type_name: str) -> Json:
    """The JSON Schema of one type of event or change in structured mode."""
    kind = DATA[type_name]
    return {
        "$schema": _DIALECT,
        "$id": f"{_URN}{type_name}",
        "title": type_name,
        **envelope(type_name, {"$ref": f"#/$defs/{kind.__name__}"}, out=type_name in OUT),
        "examples": [examples.structured(type_name)],
        "$defs": schemas([kind], "#/$defs"),
    }


def nudge_schema() -> Json:
    """The JSON Schema of a nudge."""
    return {
        "$schema": _DIALECT,
        "$id": f"{_URN}nudge",
        "title": "nudge",
        "$ref": "#/$defs/Nudge",
        "examples": [examples.nudge()],
        "$defs": schemas([Nudge], "#/$defs"),
    }
