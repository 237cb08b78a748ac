"""A JSON Schema as its kinds of values, so that two of them can be laid side by side."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

SILENT: Final = frozenset(
    {"title", "description", "default", "examples", "contentEncoding", "contentMediaType", "format"}
)
"""Keywords that refuse no value."""
KINDS: Final = ("string", "integer", "number", "boolean", "array", "object", "null")
_RULES: Final[dict[str, set[str]]] = {
    "string": {"minLength", "maxLength", "pattern", "contentSchema"},
    "integer": {"minimum", "maximum", "multipleOf"},
    "number": {"minimum", "maximum", "multipleOf"},
    "array": {"minItems", "maxItems", "items"},
    "object": {"properties", "required"},
}


def resolved(schema: Json, document: Json) -> Json:
    """The schema that a reference leads to, the keywords beside it added."""
    while "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{name: each for name, each in schema.items() if name != "$ref"}}
    return schema


def _kind_of(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return kinds[type(value)]


def kinds(schema: Json, document: Json) -> dict[str, Json]:
    """Each kind of value that the schema accepts, with its rules: `enum`, lengths, limits, fields, and under
    `other` what is none of these. A schema without a kind accepts every one.

    Raises ValueError where two alternatives are of one kind: their rules would have to be told apart.
    """
    schema = {name: each for name, each in resolved(schema, document).items() if name not in SILENT}
    if "anyOf" in schema:
        beside = {name: each for name, each in schema.items() if name != "anyOf"}
        found: dict[str, Json] = {}
        for among in schema["anyOf"]:
            more = kinds({**beside, **among}, document)
            if both := found.keys() & more.keys():
                raise ValueError(f"two alternatives of the kind {min(both)}: {schema['anyOf']}")
            found |= more
        return found
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        kinds_of = {_kind_of(each) for each in values}
        found = {kind: {"enum": {each for each in values if _kind_of(each) == kind}} for kind in kinds_of}
        return {kind: rules if kind != "null" else {} for kind, rules in found.items()}
    given = schema.get("type", KINDS)
    return {kind: _rules(kind, schema) for kind in ([given] if isinstance(given, str) else given)}


def _rules(kind: str, schema: Json) -> Json:
    own = _RULES.get(kind, set())
    every = set().union(*_RULES.values()) | {"type"}
    rules = {name: each for name, each in schema.items() if name in own}
    other = {name: each for name, each in schema.items() if name not in every}
    if other and kind != "null":
        rules["other"] = other
    return rules
