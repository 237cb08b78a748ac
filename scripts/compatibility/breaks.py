"""What today's contracts take away from those of a release, a sentence each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from scripts.compatibility.shape import Json, kinds, resolved

INTERNAL: Final = frozenset({"cardNudges"})
"""Between our own services; whoever reads a nudge needs nothing in it."""
_AT_MOST: Final = ("maxLength", "maximum", "maxItems")
_AT_LEAST: Final = ("minLength", "minimum", "minItems")


def breaks(old: Json, new: Json) -> list[str]:
    """Of two AsyncAPI documents: what a producer of events may no longer write, and what a reader of changes
    or dead letters no longer finds."""
    found: list[str] = []
    for name, channel in old["channels"].items():
        if name in INTERNAL:
            continue
        if name not in new["channels"]:
            found.append(f"{channel['address']}: is gone")
            continue
        if new["channels"][name]["address"] != channel["address"]:
            found.append(f"{channel['address']}: is now {new['channels'][name]['address']}")
        for message in _messages(old, name):
            found += _message(old, new, name, message)
    return found


def _messages(document: Json, channel: str) -> dict[str, Json]:
    """The messages of a channel by their names, such as `livecard.activity.opened`."""
    refs = document["channels"][channel]["messages"].values()
    return {message["name"]: message for message in (resolved(ref, document) for ref in refs)}


def _message(old: Json, new: Json, channel: str, name: str) -> Iterator[str]:
    before, now = _messages(old, channel)[name], _messages(new, channel).get(name)
    if now is None:
        yield f"{name}: is gone"
        return
    takes_in = any(
        each["action"] == "receive" and each["channel"]["$ref"] == f"#/channels/{channel}"
        for each in old["operations"].values()
    )
    if now["contentType"] != before["contentType"]:
        yield f"{name}: its content type is now {now['contentType']}"
    for part in ("headers", "payload"):
        if part not in before:
            continue
        if part not in now:
            yield f"{name}: {part} are no longer described"
        elif takes_in:
            yield from _refused(before[part], now[part], old, new, f"{name}: {part}")
        else:
            yield from _missing(before[part], now[part], old, new, f"{name}: {part}")


def _refused(before: Json, now: Json, old: Json, new: Json, path: str) -> Iterator[str]:
    """What was accepted and no longer is."""
    taken = kinds(now, new)
    for kind, rules in kinds(before, old).items():
        others = taken.get(kind, taken.get("number") if kind == "integer" else None)
        if others is None:
            yield f"{path}: {kind} is no longer accepted"
            continue
        yield from _narrower(kind, rules, others, path)
        if kind == "array" and "items" in others:
            yield from _refused(rules.get("items", {}), others["items"], old, new, f"{path}[]")
        if kind == "object":
            yield from _fewer(rules, others, path)
            for name in sorted(rules.get("properties", {}).keys() & others.get("properties", {}).keys()):
                fields = rules["properties"][name], others["properties"][name]
                yield from _refused(*fields, old, new, f"{path}.{name}")


def _narrower(kind: str, rules: Json, others: Json, path: str) -> Iterator[str]:
    if "enum" in others:
        if "enum" not in rules:
            yield f"{path}: only {sorted(others['enum'])} are accepted"
        elif gone := rules["enum"] - others["enum"]:
            yield f"{path}: {sorted(gone)} are no longer accepted"
        return
    infinite = float("inf")
    for name in _AT_MOST:
        if others.get(name, infinite) < rules.get(name, infinite):
            yield f"{path}: {name} is now {others[name]}"
    for name in _AT_LEAST:
        if others.get(name, -infinite) > rules.get(name, -infinite):
            yield f"{path}: {name} is now {others[name]}"
    values = rules.get("enum")
    for name in ("pattern", "multipleOf", "contentSchema"):
        if name in others and values is None and others[name] != rules.get(name):
            yield f"{path}: has another {name} ({_mark(others[name])})"
    if "other" in others and values is None and others["other"] != rules.get("other"):
        yield f"{path}: {kind} has other rules ({_mark(others['other'])})"


def _mark(rule: object) -> str:
    """By which a rule is known again: a decision holds for this one, and not for the next."""
    return hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:6]


def _fewer(rules: Json, others: Json, path: str) -> Iterator[str]:
    for name in sorted({*others.get("required", ())} - {*rules.get("required", ())}):
        yield f"{path}.{name}: is now required"
    for name in sorted(rules.get("properties", {}).keys() - others.get("properties", {}).keys()):
        yield f"{path}.{name}: is no longer read"


def _missing(before: Json, now: Json, old: Json, new: Json, path: str) -> Iterator[str]:
    """What a reader could rely on and no longer can. It is expected to pass over types, fields and values
    that it does not know (docs/events.md)."""
    known = kinds(before, old)
    for kind, rules in kinds(now, new).items():
        others = known.get(kind)
        if others is None:
            yield f"{path}: may now be {kind}"
            continue
        always = others.get("enum", set())
        if len(always) == 1 and rules.get("enum") != always:
            yield f"{path}: is no longer always {min(always)!r}"
        if kind == "array" and "items" in others:
            yield from _missing(others["items"], rules.get("items", {}), old, new, f"{path}[]")
        if kind == "object":
            for name in sorted({*others.get("required", ())} - {*rules.get("required", ())}):
                yield f"{path}.{name}: is no longer always there"
            for name in sorted(others.get("properties", {}).keys() - rules.get("properties", {}).keys()):
                yield f"{path}.{name}: is gone"
            for name in sorted(others.get("properties", {}).keys() & rules.get("properties", {}).keys()):
                fields = others["properties"][name], rules["properties"][name]
                yield from _missing(*fields, old, new, f"{path}.{name}")
