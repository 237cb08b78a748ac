"""What stands before the API: limits, time, metrics, and the drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from litestar import get
from litestar.response import Stream

from services.gateway import front
from services.gateway.front import canonical
from services.gateway.service import GatewayService
from services.store.ports import StoreUnavailable
from tests.gateway.world import World, keys


class Slow:
    """Two routes that wait: for the answer, and for the rest of a stream."""

    def __init__(self, world: World) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

        @get("/v1/slow", opt={"scope": "read"})
        async def slow() -> str:
            self.reached.set()
            await self.go.wait()
            return "done"

        @get("/v1/stream", opt={"scope": "read"})
        async def stream() -> Stream:
            return Stream(self._parts())

        world.app.register(slow)
        world.app.register(stream)

    async def _parts(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.reached.set()
        await self.go.wait()
        yield b"last"


async def test_too_much_at_once_is_turned_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MOST_WORKING", 1)
    slow = Slow(world)
    one = asyncio.create_task(world.api.get("/v1/slow"))
    await slow.reached.wait()
    shed = await world.api.get("/v1/activities/a")
    assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
    assert shed.headers["content-type"] == "application/problem+json"
    slow.go.set()
    assert (await one).text == "done"
    assert (await world.api.get("/v1/nothing")).status_code == 404


async def test_a_stream_takes_no_place_of_those_that_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_WORKING", 1)
    slow = Slow(world)
    one = asyncio.create_task(world.api.get("/v1/stream"))
    await slow.reached.wait()
    assert (await world.api.get("/v1/nothing")).status_code == 404
    slow.go.set()
    assert (await one).content == b"firstlast"


async def test_an_answer_that_takes_too_long_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "DEADLINE", 0.01)
    Slow(world)
    late = await world.api.get("/v1/slow")
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")


async def test_a_drain_turns_new_ones_away_and_finishes_what_is_in_hand(world: World) -> None:
    slow = Slow(world)
    service = GatewayService(world.app, world.gateway, keys())
    world.front = service.asgi
    client = world.client("lck_all-of-wx1")
    running = asyncio.create_task(service.run())
    assert await service.ready() is None
    one = asyncio.create_task(client.get("/v1/slow"))
    await slow.reached.wait()
    service.stop()
    assert await service.ready() == "it drains"
    refused = await client.get("/v1/nothing")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert not running.done()
    slow.go.set()
    assert (await one).status_code == 200
    await running


async def test_requests_are_told_by_route_and_status(world: World) -> None:
    """By the route's template: no id, no path that somebody made up, becomes a label."""
    await world.scene.open("a-1")
    await world.api.post("/v1/activities/a-1/close")
    await world.api.post("/v1/activities/a-2/close")
    await world.api.get("/v1/made/up")
    await world.client(None).get("/openapi.json")
    value = world.gateway.metrics.registry.get_sample_value
    close = "POST /v1/activities/{activity_id}/close"
    for route, code in ((close, "202"), (close, "404"), ("", "404"), ("GET /openapi.json", "200")):
        assert value("livecard_http_requests_total", {"route": route, "code": code}) == 1
    assert value("livecard_http_request_seconds_count", {"route": close}) == 2
    assert value("livecard_http_requests_in_flight") == 0


async def test_a_store_that_is_away_is_told_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("postgresql://canary@host")

    monkeypatch.setattr(world.bench.store, "transaction", away)
    monkeypatch.setattr(world.bench.store, "owner", away)
    answer = await world.api.post("/v1/activities/a-1/close")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "canary" not in answer.text


async def test_what_nobody_expected_is_logged_and_not_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @get("/v1/broken", opt={"scope": "read"})
    async def broken() -> None:
        raise RuntimeError("canary")

    world.app.register(broken)
    answer = await world.api.get("/v1/broken")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/activities/a", "/v1/activities/a"),
        (b"/v1/activities/a%2Fb?x=1", "/v1/activities/a%2Fb"),
        (b"/v1/activities/a%2fb", "/v1/activities/a%2Fb"),
        (b"/v1/%61ctivities/a", "/v1/activities/a"),
        (b"/v1/activities/%25", "/v1/activities/%25"),
        (b"/v1/activities//x", None),
        (b"/v1/activities/", None),
        (b"/v1/activities/%FF", None),
        (b"/v1/activities/\xff", None),
        (b"/", None),
    ],
)
def test_a_path_has_one_form(raw: bytes, path: str | None) -> None:
    assert canonical(raw) == path
