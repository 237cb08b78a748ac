"""`GET /v1/activities/{id}/events`: a snapshot, then every change, until somebody leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from contracts.changes import decode_change
from scripts.patience import PATIENCE
from services.gateway import front
from services.gateway.feed import Feed
from services.gateway.feeding import FeedService
from services.gateway.keys import ApiKeys, KeyEntry, hash_of
from services.gateway.routes import feed as routes
from services.kafka.tail import Tail
from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.http import HttpServer
from services.runtime.settings import Settings
from services.store.ports import StoreUnavailable
from services.store.rows import CHANGES, Announced, Writes
from services.transactions.views import view_activity
from tests.gateway.changes import NOW, change, ids
from tests.gateway.listening import listening
from tests.gateway.test_events import published
from tests.gateway.world import ALL_KEY, OTHER_KEY, SCOPE_KEYS, World


def asgi(world: World) -> Any:
    """The API: litestar and uvicorn spell its type in two ways."""
    return world.front


@pytest.fixture(autouse=True)
def begun(world: World) -> None:
    """The tail has caught up."""
    world.gateway.feed.begin()


async def relay(world: World) -> list[str]:
    """What relay, broker and tail do with all the changes so far; their ids."""
    rows = [row for row in await world.scene.outbox() if row.topic == CHANGES]
    for row in rows:
        world.gateway.feed.take(0, row.activity_id.encode(), row.body.encode())
    return [row.id for row in rows if row.activity_id == "a-1"]


async def test_a_snapshot_and_then_the_changes(world: World) -> None:
    """The snapshot is the body of the activity's GET, a change is what `activity.changes` has."""
    await world.scene.open("a-1", "a-2")
    await relay(world)
    async with listening(world) as one:
        await one.until("event: snapshot")
        snapshot = (await world.api.get("/v1/activities/a-1")).json()
        await world.scene.complete("a-1", "gp-1")
        await world.scene.complete("a-2", "gp-2")
        published = await relay(world)
        await one.until(f"id: {published[-1]}\n.*\n\n")
    assert one.status == 200
    assert one.headers["content-type"] == "text/event-stream"
    assert one.headers["cache-control"] == "no-store"
    retry, first, *changes, rest = one.body.decode().split("\n\n")
    assert (retry, rest) == ("retry: 2000", "")
    assert first.startswith("event: snapshot\ndata: {")
    assert msgspec.json.decode(first.partition("data: ")[2]) == snapshot
    for each in changes:
        kind, id_, data = each.split("\n")
        change = decode_change(data.removeprefix("data: ").encode())
        assert (id_, change.activity_id) == (f"id: {change.id}", "a-1")
        assert kind == f"event: {msgspec.json.decode(data.removeprefix('data: '))['type']}"
    assert ids(one.body) == published[-len(changes) :]


async def test_what_happens_while_the_snapshot_is_read_is_streamed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just before it is read, and just after: neither is lost."""
    await world.scene.open("a-1")
    await relay(world)
    told = []

    async def busy(*given: Any) -> Any:
        await happen("gp-before")
        view = await view_activity(*given)
        await happen("gp-after")
        return view

    async def happen(member: str) -> None:
        await world.scene.complete("a-1", member)
        told.append((await relay(world))[-1])

    monkeypatch.setattr(routes, "view_activity", busy)
    async with listening(world) as one:
        await one.until("event: snapshot")  # then both have happened
        await one.until(f"id: {told[1]}\n")
    assert set(told) <= set(ids(one.body))


async def test_a_client_resumes_without_a_snapshot(world: World) -> None:
    """Whatever is in the id: browsers send it in UTF-8."""
    await world.scene.open("活动/1")
    await world.scene.complete("活动/1", "gp-1")
    await world.scene.complete("活动/1", "gp-2")
    await relay(world)
    published = [row.id for row in await world.scene.outbox() if row.topic == CHANGES]
    async with listening(world, "活动/1", published[0]) as one:
        await one.until(f"id: {published[-1]}\n")
    assert "snapshot" not in one.body.decode()
    assert ids(one.body) == published[1:]
    async with listening(world, "活动/1", "of-another-time") as one:
        await one.until("event: snapshot")
    assert ids(one.body) == []


@pytest.mark.parametrize(
    ("activity", "key", "status"),
    [("a-1", OTHER_KEY, 404), ("a-9", ALL_KEY, 404), ("a-1", SCOPE_KEYS["write"], 403), ("a-1", "x", 401)],
)
async def test_others_hear_nothing_and_take_no_place(
    world: World, activity: str, key: str, status: int
) -> None:
    await world.scene.open("a-1")
    async with listening(world, activity, key=key) as one:
        await one.end()
    assert (one.status, one.headers["content-type"]) == (status, "application/problem+json")
    assert len(world.gateway.feed) == 0


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_a_stream_that_began_before_the_opening_is_for_the_app_that_opened(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    """The app that announced the activity hears nothing of another's; even where it is opened just after it
    was read."""
    async with world.bench.store.transaction() as tx:
        await tx.lock(["a-1"])
        await tx.write(Writes(announced=[Announced("a-1", "wx2", "", NOW)]))

    async def opened() -> None:
        async with world.bench.store.transaction() as tx:  # its own opening was refused
            await tx.lock(["a-1"])
            await tx.write(Writes(announced=[Announced("a-1")]))
        await world.scene.open("a-1", appid="wx1")
        await world.scene.complete("a-1", "gp-1")
        await relay(world)

    async def busy(*given: Any) -> Any:
        view = await view_activity(*given)
        await opened()
        return view

    if meanwhile:
        monkeypatch.setattr(routes, "view_activity", busy)
    async with listening(world, key=OTHER_KEY) as one:
        if not meanwhile:
            await one.until('"state":"opening"')
            await opened()
        await one.end()
    assert one.over
    assert ids(one.body) == []
    monkeypatch.undo()
    async with listening(world, key=OTHER_KEY) as again:
        await again.end()
    assert again.status == 404


async def test_a_stream_that_began_before_the_opening_goes_on_after_it(world: World) -> None:
    """No change is missed between the two: a client waits for the one that answers what it did."""
    async with world.bench.store.transaction() as tx:
        await tx.lock(["a-1"])
        await tx.write(Writes(announced=[Announced("a-1", "wx1", "", NOW)]))
    async with listening(world) as own:
        await own.until('"state":"opening"')
        await world.scene.open("a-1", appid="wx1")
        await world.scene.complete("a-1", "gp-1")
        told = await relay(world)
        await own.until(f"id: {told[-1]}\n")
    assert ids(own.body) == told


async def test_a_stream_ends_where_it_cannot_be_seen_who_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away at the opening: nothing is told that might be another's."""

    async def away(_activity_id: str) -> Any:
        raise StoreUnavailable("away")

    async with world.bench.store.transaction() as tx:
        await tx.lock(["a-1"])
        await tx.write(Writes(announced=[Announced("a-1", "wx1", "", NOW)]))
    async with listening(world) as own:
        await own.until('"state":"opening"')
        await world.scene.open("a-1", appid="wx1")
        monkeypatch.setattr(world.gateway.store, "owner", away)
        await relay(world)
        await own.end()
    assert own.over
    assert ids(own.body) == []


async def test_a_client_that_leaves_is_let_go_at_once(world: World) -> None:
    await world.scene.open("a-1")
    async with listening(world) as one:
        await one.until("snapshot")
        assert len(world.gateway.feed) == 1
    assert len(world.gateway.feed) == 0
    await world.front.drained()


async def test_a_silent_stream_is_kept_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "KEEP_ALIVE", 0.01)
    await world.scene.open("a-1")
    async with listening(world) as one:
        await one.until(r"\n\n: [^\n]*\n\n: [^\n]*\n\n$")


async def test_a_key_that_is_revoked_ends_its_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next keep-alive, or the next change."""
    monkeypatch.setattr(routes, "KEEP_ALIVE", 0.01)
    await world.scene.open("a-1")
    async with listening(world) as one:
        await one.until("snapshot")
        keys: ApiKeys = world.app.state.api_keys
        keys._callers = ApiKeys({hash_of(ALL_KEY): KeyEntry("all", ("write",), ("wx1",))})._callers
        await one.end()
    assert one.over


async def test_a_drain_ends_the_streams_at_once(world: World) -> None:
    """And the gateway is drained, so that nothing holds the process."""
    await world.scene.open("a-1")
    tail = Tail(Settings(kafka="127.0.0.1:1"), "t", world.gateway.feed, RealClock())
    service = FeedService(world.gateway.feed, tail)
    running = asyncio.create_task(service.run())
    async with listening(world) as one:
        await one.until("snapshot")
        service.stop()
        world.gateway.stopping.set()
        await one.end()
        assert one.over
    await world.front.drained()
    await running


async def test_a_client_that_reads_nothing_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it holds the connection open and takes not one byte."""
    monkeypatch.setattr(routes, "LAST_WORDS", 0.01)
    monkeypatch.setattr("services.gateway.feed.STREAM_MEMORY", 2_000)
    await world.scene.open("a-1")
    async with listening(world) as one:
        await one.until("snapshot")
        one.reads.clear()
        for number in range(20):
            await world.scene.complete("a-1", f"gp-{number}")
        await relay(world)
        await one.end()
    assert not one.over
    assert len(world.gateway.feed) == 0


async def test_a_client_that_takes_nothing_for_long_is_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little waits for it."""
    monkeypatch.setattr(routes, "KEEP_ALIVE", 0.01)
    await world.scene.open("a-1")
    async with listening(world) as one:
        await one.until("snapshot")
        monkeypatch.setattr(front, "STALLED", 0.01)
        one.reads.clear()
        await one.end()
    assert not one.over
    assert len(world.gateway.feed) == 0


async def test_where_no_stream_can_be_had_one_may_try_again(world: World) -> None:
    """Before the changes are read from Kafka, and when there are too many. All else goes on."""
    await world.scene.open("a-1")
    for feed in (Feed(RealClock()), Feed(RealClock(), streams=0)):
        if feed._most == 0:
            feed.begin()
        other = World(world.bench, feed=feed)
        answer = await other.api.get("/v1/activities/a-1/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert (await other.api.get("/v1/activities/a-1")).status_code == 200
        await other.close()


async def test_over_a_socket_changes_come_at_once_and_a_client_that_leaves_is_noticed(world: World) -> None:
    await world.scene.open("a-1")
    server = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), CollectorRegistry(), asgi(world))
    await server.start()
    url, headers = f"{server.url}/v1/activities/a-1/events", {"authorization": f"Bearer {ALL_KEY}"}
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(headers=headers) as http:
        async with http.get(url) as answer:
            assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
            assert (await answer.content.readuntil(b"\n\n")).startswith(b"event: snapshot\ndata: {")
            await world.scene.complete("a-1", "gp-1")
            last = (await relay(world))[-1]
            while f"id: {last}\n".encode() not in await answer.content.readuntil(b"\n\n"):
                pass
        while len(world.gateway.feed):  # noqa: ASYNC110 (the server notices it)
            await asyncio.sleep(0.01)
        async with http.get(url) as answer:
            world.gateway.feed.close()
            assert (await answer.read()).endswith(b"\n\n")
    await world.front.drained()
    await server.stop()


@pytest.mark.parametrize(
    "length", ["content-length: 20\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n5\r\n{"]
)
async def test_over_a_socket_a_client_that_leaves_in_its_body_is_no_mistake_of_ours(
    world: World, length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phones and proxies do all day. Nothing is done, and no warning tells of it."""
    await world.scene.open("a-1")
    server = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), CollectorRegistry(), asgi(world))
    await server.start()
    _, port = server.url.rsplit(":", 1)
    head = f"POST /v1/activities/a-1/close HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALL_KEY}\r\n"
    told: asyncio.Queue[tuple[str, int, float]] = asyncio.Queue()
    monkeypatch.setattr(world.gateway.metrics, "request_answered", lambda *each: told.put_nowait(each))
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(f"{head}{length}".encode())
        await writer.drain()
        writer.close()
        async with asyncio.timeout(PATIENCE):
            route, code, _ = await told.get()
    assert (route, code) == ("POST /v1/activities/{activity_id}/close", 499)
    assert not [line for line in lines if line["log_level"] in ("warning", "error")]
    assert await published(world) == []
    await world.front.drained()
    await server.stop()


async def test_over_a_socket_a_client_that_reads_nothing_is_cut_off(world: World) -> None:
    """Buffers of the system and of the server fill first; they are bounded, too."""
    await world.scene.open("a-1")
    server = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), CollectorRegistry(), asgi(world))
    await server.start()
    _, port = server.url.rsplit(":", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=1)
    request = f"GET /v1/activities/a-1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALL_KEY}\r\n\r\n"
    writer.write(request.encode())
    await reader.read(1)
    feed, number = world.gateway.feed, 0
    async with asyncio.timeout(PATIENCE):
        while len(feed):
            number += 1
            feed.take(0, b"a-1", change(number, member="m" * 50_000))
            await asyncio.sleep(0)
        await world.front.drained()
    writer.close()
    await server.stop()
