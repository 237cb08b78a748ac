"""`Idempotency-Key`: what is repeated is answered as the first time, and done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from services.store.ports import StoreUnavailable
from services.store.rows import EVENTS
from tests.gateway.world import OTHER_KEY, World

KEY = {"idempotency-key": "k-1"}
URL = "/v1/activities/a-1/complete"
BODY = {"members": ["gp-alex"]}


async def events(world: World) -> list[str]:
    """The ids of the events that wait for the relay."""
    return [row.id for row in await world.scene.outbox() if row.topic == EVENTS]


async def test_the_same_bytes_are_answered_as_the_first_time(world: World) -> None:
    await world.scene.open("a-1")
    first = await world.api.post(URL, json=BODY, headers=KEY)
    again = await world.api.post(URL, json=BODY, headers=KEY)
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert await events(world) == [first.json()["event_id"]]


async def test_without_a_key_everything_is_done_again(world: World) -> None:
    await world.scene.open("a-1")
    for _ in range(2):
        await world.api.post(URL, json=BODY)
    assert len(await events(world)) == 2


async def test_other_bytes_are_refused(world: World) -> None:
    await world.scene.open("a-1")
    await world.api.post(URL, json=BODY, headers=KEY)
    answer = await world.api.post(URL, json={"members": ["gp-bob"]}, headers=KEY)
    assert answer.status_code == 422
    assert "another body" in answer.json()["detail"]
    assert len(await events(world)) == 1


async def test_a_key_counts_for_its_caller_and_path(world: World) -> None:
    await world.scene.open("a-1", "a-2")
    await world.scene.open("a-3", appid="wx2")
    paths = [(world.api, "a-1"), (world.api, "a-2"), (world.client(OTHER_KEY), "a-3")]
    for client, name in paths:
        assert (
            await client.post(f"/v1/activities/{name}/complete", json=BODY, headers=KEY)
        ).status_code == 202
    assert (
        await world.api.post("/v1/activities/a-1/participants", json=BODY, headers=KEY)
    ).status_code == 202
    assert len(await events(world)) == 4


async def test_a_refusal_of_the_data_is_kept_and_no_other(world: World) -> None:
    bad: dict[str, list[str]] = {"members": []}
    unknown = await world.api.post(URL, json=bad, headers=KEY)
    await world.scene.open("a-1")
    refused = await world.api.post(URL, json=bad, headers=KEY)
    again = await world.api.post(URL, json=bad, headers=KEY)
    assert [unknown.status_code, refused.status_code, again.status_code] == [404, 422, 422]
    assert refused.content == again.content
    assert again.headers["content-type"] == "application/problem+json"


async def test_after_a_day_a_key_is_new(world: World) -> None:
    await world.scene.open("a-1", life=3 * 86_400.0)
    await world.api.post(URL, json=BODY, headers=KEY)
    await world.bench.advance(86_399)
    await world.api.post(URL, json=BODY, headers=KEY)
    assert len(await events(world)) == 1
    await world.bench.advance(1)
    await world.api.post(URL, json={"members": ["gp-bob"]}, headers=KEY)
    assert len(await events(world)) == 2


async def test_cut_off_between_commit_and_answer_nothing_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears 503, asks again with the same key, and gets what was committed."""
    await world.scene.open("a-1")
    store = world.bench.store
    real = store.transaction
    count = 0

    @asynccontextmanager
    async def cut() -> AsyncIterator[Any]:
        nonlocal count
        async with real() as tx:
            yield tx
        count += 1
        if count == 2:  # the first takes the request on, the second does the work
            raise StoreUnavailable("cut")

    monkeypatch.setattr(store, "transaction", cut)
    first = await world.api.post(URL, json=BODY, headers=KEY)
    assert (first.status_code, first.headers["retry-after"]) == (503, "5")
    made = await events(world)
    again = await world.api.post(URL, json=BODY, headers=KEY)
    assert again.status_code == 202
    assert [again.json()["event_id"]] == made == await events(world)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_failed_before_its_commit_may_be_tried_again_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """The store was away for a moment; or nobody waited for the answer any longer."""
    await world.scene.open("a-1")
    store = world.bench.store
    real = store.transaction
    reached = asyncio.Event()
    begun = 0

    @asynccontextmanager
    async def fails() -> AsyncIterator[Any]:
        nonlocal begun
        begun += 1
        async with real() as tx:
            yield tx
            if begun == 2:  # the first takes the request on, the second does the work
                reached.set()
                if cancelled:
                    await asyncio.Event().wait()
                raise StoreUnavailable("cut")

    monkeypatch.setattr(store, "transaction", fails)
    asked = asyncio.create_task(world.api.post(URL, json=BODY, headers=KEY))
    await reached.wait()
    if cancelled:
        asked.cancel()
    await asyncio.wait([asked])
    assert cancelled or asked.result().status_code == 503
    assert asked.cancelled() == cancelled
    assert (await world.api.post(URL, json=BODY, headers=KEY)).status_code == 202
    assert len(await events(world)) == 1


async def test_killed_before_its_commit_a_request_is_under_way_for_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.scene.open("a-1")
    store = world.bench.store
    real = store.transaction
    begun = 0

    @asynccontextmanager
    async def dies() -> AsyncIterator[Any]:
        nonlocal begun
        begun += 1
        if begun >= 2:
            raise StoreUnavailable("cut")
        async with real() as tx:
            yield tx

    monkeypatch.setattr(store, "transaction", dies)
    assert (await world.api.post(URL, json=BODY, headers=KEY)).status_code == 503
    monkeypatch.setattr(store, "transaction", real)
    waits = await world.api.post(URL, json=BODY, headers=KEY)
    assert (waits.status_code, waits.headers["retry-after"]) == (409, "1")
    await world.bench.advance(60)
    assert (await world.api.post(URL, json=BODY, headers=KEY)).status_code == 202
    assert len(await events(world)) == 1


async def test_who_was_taken_for_dead_undoes_its_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back after the minute in which another has taken its request over: one of them counts."""
    await world.scene.open("a-1")
    held, go = asyncio.Event(), asyncio.Event()
    first_call = True
    real_work = world.bench.store.transaction

    @asynccontextmanager
    async def slow() -> AsyncIterator[Any]:
        nonlocal first_call
        async with real_work() as tx:
            yield tx
        if first_call:
            first_call = False
            held.set()
            await go.wait()

    monkeypatch.setattr(world.bench.store, "transaction", slow)
    slept = asyncio.create_task(world.api.post(URL, json=BODY, headers=KEY))
    await held.wait()
    await world.bench.advance(60)
    taken = await world.api.post(URL, json=BODY, headers=KEY)
    go.set()
    woken = await slept
    assert (taken.status_code, woken.status_code) == (202, 409)
    assert await events(world) == [taken.json()["event_id"]]


async def test_many_at_once_are_done_once(world: World) -> None:
    await world.scene.open("a-1")
    answers = await asyncio.gather(*(world.api.post(URL, json=BODY, headers=KEY) for _ in range(8)))
    assert {each.status_code for each in answers} <= {202, 409}
    assert len({each.content for each in answers if each.status_code == 202}) == 1
    assert len(await events(world)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
async def test_a_key_is_short_and_printable(world: World, key: str) -> None:
    await world.scene.open("a-1")
    headers = httpx.Headers([(b"idempotency-key", key.encode("latin-1"))])
    answer = await world.api.post(URL, json=BODY, headers=headers)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_nothing_of_a_request_stands_in_its_row(world: World) -> None:
    """Neither API key, nor path, nor the key itself."""
    await world.scene.open("a-1")
    await world.api.post(URL, json=BODY, headers={"idempotency-key": "canary"})
    async with world.bench.store.engine.connect() as connection:  # type: ignore[attr-defined]  # SQLite's
        rows = (await connection.exec_driver_sql("SELECT * FROM requests")).all()
    (row,) = rows
    assert not any(word in str(row) for word in ("canary", "lck_", "a-1", "gp-alex"))
    assert msgspec.json.decode(row[4])["event_id"]
