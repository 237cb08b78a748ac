"""Every route there is: who is let in."""

from __future__ import annotations

import re

import pytest

from services.gateway.front import routes_of
from tests.gateway.world import SCOPE_KEYS, World

OPEN = {"GET /openapi.json"}


def calls(world: World) -> list[tuple[str, str, str, str | None]]:
    """Route, method, a path of it, and the scope that it asks for."""
    return [
        (name, *name.split(" ")[:1], re.sub(r"\{[^}]*\}", "x", name.split(" ")[1]), handler.opt.get("scope"))
        for name, handler in routes_of(world.app)
    ]


async def test_no_route_answers_without_a_key(world: World) -> None:
    """But the document of the API; health and metrics are the process' own."""
    for client in (
        world.client(None),
        world.client("lck_unknown"),
        world.client(None, authorization="Basic eDp5"),
    ):
        for name, method, path, _ in calls(world):
            answer = await client.request(method, path)
            if name in OPEN:
                assert answer.status_code == 200, name
            else:
                assert answer.status_code == 401, name
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.headers["content-type"] == "application/problem+json"


async def test_every_route_asks_for_its_scope(world: World) -> None:
    """A key without it gets 403, with it something else."""
    for name, method, path, wanted in calls(world):
        if name in OPEN:
            continue
        assert wanted in SCOPE_KEYS, name
        for scope, key in SCOPE_KEYS.items():
            answer = await world.client(key).request(method, path)
            assert (answer.status_code == 403) == (scope != wanted), (name, scope, answer.text)


async def test_a_route_without_a_scope_answers_nobody(world: World) -> None:
    """Whoever forgets it is told by the tests, and no caller finds it open."""
    from litestar import get

    @get("/v1/forgotten")
    async def forgotten() -> None: ...

    world.app.register(forgotten)
    assert (await world.api.get("/v1/forgotten")).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "HEAD"])
async def test_other_methods_are_refused_and_told_which_do(world: World, method: str) -> None:
    for name, _, path, _ in calls(world):
        answer = await world.api.request(method, path)
        assert answer.status_code == 405, name
        assert name.split(" ")[0] in answer.headers["allow"].split(", ")


async def test_an_unknown_path_is_a_problem_too(world: World) -> None:
    for path in ("/", "/v1", "/v1/nothing", "/v1/activities//complete", "/v1/activities/%ff/complete"):
        answer = await world.api.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 404
