"""Every route of the API: who is let in. The console's are in `test_console_walk.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import get
from prometheus_client import generate_latest

from contracts.events import Room
from services.gateway.front import routes_of
from services.runtime.logs import configure
from services.runtime.settings import Settings
from services.transactions.bind import bind_in
from tests.gateway.world import ALL_KEY, OTHER_KEY, SCOPE_KEYS, World

OPEN = {"GET /openapi.json"}


def calls(world: World) -> list[tuple[str, str, str, str | None]]:
    """Route, method, a path of it, and the scope that it asks for."""
    return [
        (name, *name.split(" ")[:1], re.sub(r"\{[^}]*\}", "x", name.split(" ")[1]), handler.opt.get("scope"))
        for name, handler in api_routes(world)
    ]


def api_routes(world: World) -> Iterator[tuple[str, Any]]:
    """All that take an API key."""
    return ((name, handler) for name, handler in routes_of(world.app) if not handler.opt.get("console"))


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
        assert method == "HEAD" or "/openapi.json" in answer.json()["detail"]


async def test_an_unknown_path_is_a_problem_too(world: World) -> None:
    for path in ("/", "/v1", "/v1/nothing", "/v1/activities//complete", "/v1/activities/%ff/complete"):
        answer = await world.api.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 404
        assert "GET /openapi.json lists every route" in answer.json()["detail"], path


async def test_every_route_says_of_an_unknown_activity_the_same(world: World) -> None:
    """Whichever reads or writes it."""
    world.gateway.feed.begin()
    said = set()
    for name, handler in api_routes(world):
        if "{activity_id}" in name:
            method, path = name.format(activity_id="a-9").split(" ")
            body = msgspec.json.encode(handler.opt.get("example", {})) if method == "POST" else b""
            said.add((await world.api.request(method, path, content=body)).text)
    (told,) = said
    assert "none of this key's apps has an activity of this id" in told


async def test_a_key_of_another_app_is_told_so(world: World) -> None:
    """In one sentence, wherever the request names the app."""
    foreign = world.client(OTHER_KEY)
    opened = {"appid": "wx1", "template": "complete"}
    answers = [
        await foreign.post("/v1/activities", json=opened),
        await foreign.get("/v1/rooms/g-1/members", params={"appid": "wx1"}),
    ]
    assert {each.status_code for each in answers} == {403}
    (told,) = {each.json()["detail"] for each in answers}
    assert "the key 'other' is not for the app 'wx1'" in told


CANARIES = ("canary-title", "canary-member", "canary-publisher", "canary-openid", "wx1")


async def test_a_key_of_one_app_sees_and_touches_nothing_of_anothers(world: World) -> None:
    """By any route: it gets what it would get if there were nothing, and nothing is written."""
    await world.scene.open(
        "a-1",
        title="canary-title",
        publisher="canary-publisher",
        room={"opengid": "g-1"},
        choose="listed",
        participants=["canary-member"],
    )
    async with world.bench.store.transaction() as tx:
        await bind_in(tx, "wx1", Room(opengid="g-1"), "canary-openid", "canary-member")
    world.gateway.feed.begin()
    before = await world.scene.outbox()
    foreign = world.client(OTHER_KEY)
    for name, handler in api_routes(world):
        if name in OPEN:
            continue
        method, template = name.split(" ")
        template += "?appid={appid}" if "{room_id}" in template else ""
        known = template.format(activity_id="a-1", appid="wx1", room_id="g-1")
        unknown = template.format(activity_id="a-9", appid="wx9", room_id="g-9")
        body = msgspec.json.encode(handler.opt.get("example", {})) if method == "POST" else b""
        answer = await foreign.request(method, known, content=body)
        text = answer.text.replace("'wx1'", "'wx9'")  # a refusal quotes the app that the request named
        assert not any(canary in text for canary in CANARIES), (name, answer.text)
        if known != unknown:
            other = await foreign.request(method, unknown, content=body)
            assert (answer.status_code, text) == (other.status_code, other.text), name
            assert answer.status_code in (403, 404, 422), name
    assert await world.scene.outbox() == before


@pytest.mark.usefixtures("logging_restored")
async def test_no_key_is_told_by_anything(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a good one nor a wrong one, wherever it is sent: not in answers, logs or metrics."""

    @get("/v1/broken", opt={"scope": "read"})
    async def broken() -> None:
        raise RuntimeError("somebody's fault")

    world.app.register(broken)
    configure(Settings(log_level="debug"))
    wrong = "lck_canary-wrong-" + "w" * 40
    answers: list[httpx.Response] = []
    for key in (ALL_KEY, wrong):
        for _, method, path, _ in calls(world):
            sent = (
                {"authorization": f"Bearer {key}"},
                {"authorization": f"Basic {key}"},
                {"authorization": f"Bearer {ALL_KEY}", "idempotency-key": key},
            )
            answers += [await world.client(None, **each).request(method, path) for each in sent]
    logged = capsys.readouterr().err
    assert "a request failed unexpectedly" in logged
    metrics = generate_latest(world.gateway.metrics.registry).decode()
    told = [logged, metrics, *(answer.text for answer in answers), *(str(a.headers) for a in answers)]
    assert not any(key in text for text in told for key in (ALL_KEY, wrong))
