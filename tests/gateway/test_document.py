"""`/openapi.json`: what a person reads in it, and what a generator of clients needs."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from services.gateway.app import ROUTES
from services.gateway.openapi import encoded
from tests.gateway.world import World

DOCUMENT: dict[str, Any] = msgspec.json.decode(encoded(tuple(ROUTES)))
OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_names_are_plain() -> None:
    """Of schemas and operations: no module and no type of the program is a part of them."""
    assert [name for name in DOCUMENT["components"]["schemas"] if not re.fullmatch("[A-Za-z]+", name)] == []
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert [name for name in names if not re.fullmatch("(get|post)[A-Za-z]+", name)] == []
    assert len(set(names)) == len(names)


def test_every_route_has_a_summary_of_its_own() -> None:
    """A sentence, not the name of a function."""
    told = [operation["summary"] for _, _, operation in OPERATIONS]
    assert len(set(told)) == len(told)
    assert [each for each in told if " " not in each] == []


async def test_a_body_is_required_where_none_is_refused(world: World) -> None:
    """Every POST is tried without one."""
    await world.scene.open("x")
    for method, path, operation in OPERATIONS:
        if method == "POST" and "/sessions" not in path:  # which needs LIVECARD_SESSION_KEY_FILE first
            answer = await world.api.post(re.sub(r"\{\w+\}", "x", path))
            assert (answer.status_code == 422) == operation["requestBody"]["required"], (path, answer.text)


@pytest.mark.parametrize("route", ["complete", "participants"])
def test_an_event_that_names_people_needs_a_body(route: str) -> None:
    assert DOCUMENT["paths"][f"/v1/activities/{{activity_id}}/{route}"]["post"]["requestBody"]["required"]


def test_the_stream_is_described() -> None:
    """Its header, and what comes."""
    stream = DOCUMENT["paths"]["/v1/activities/{activity_id}/events"]["get"]
    assert [each["name"] for each in stream["parameters"] if each["in"] == "header"] == ["Last-Event-ID"]
    answer = stream["responses"]["200"]
    assert "snapshot" in answer["description"]
    content = answer["content"]["text/event-stream"]
    assert content["schema"] == {"type": "string"}
    assert "event: snapshot\ndata: {" in content["example"]
