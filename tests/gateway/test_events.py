"""What happened is taken, checked as on the topic, and goes out through the outbox."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
import pytest

from contracts.decode import decode_structured
from contracts.events import Event
from services.store.rows import EVENTS, OutboxRow
from tests.gateway.world import OTHER_KEY, World

BODIES = {
    "complete": {"members": ["gp-alex"]},
    "participants": {"members": ["gp-new"]},
    "reschedule": {"deadline": None},
    "close": {},
}
KINDS = {
    "complete": "livecard.participant.completed",
    "participants": "livecard.participant.added",
    "reschedule": "livecard.activity.rescheduled",
    "close": "livecard.activity.closed",
}


async def published(world: World) -> list[OutboxRow]:
    """The events that wait for the relay."""
    return [row for row in await world.scene.outbox() if row.topic == EVENTS]


@pytest.mark.parametrize("route", sorted(BODIES))
async def test_an_event_is_published_through_the_outbox(world: World, route: str) -> None:
    """The relay is woken; the topic's own decoder reads what it will publish."""
    await world.scene.open("a-1")
    answer = await world.api.post(f"/v1/activities/a-1/{route}", json=BODIES[route])
    assert answer.status_code == 202, answer.text
    (row,) = await published(world)
    event = decode_structured(row.body.encode())
    assert isinstance(event, Event), event
    assert (event.source, event.id, event.type) == (
        "/livecard/api/all",
        answer.json()["event_id"],
        KINDS[route],
    )
    assert (row.activity_id, row.id, event.time) == ("a-1", event.id, world.bench.now)
    assert world.relay.kicked == 1


@pytest.mark.parametrize("activity", ["a/b", "100%", "活动-1", "a b", "a?b#c", "%2F", "...", "a+b"])
async def test_an_id_is_percent_encoded_in_the_path(world: World, activity: str) -> None:
    await world.scene.open(activity)
    answer = await world.api.post(f"/v1/activities/{quote(activity, safe='')}/close")
    assert answer.status_code == 202, answer.text
    assert [row.activity_id for row in await published(world)] == [activity]


async def test_an_empty_body_is_an_empty_object(world: World) -> None:
    await world.scene.open("a-1")
    assert (await world.api.post("/v1/activities/a-1/close")).status_code == 202
    refused = await world.api.post("/v1/activities/a-1/complete")
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"members": []}', "members"),
        (b'{"members": ["a", ""]}', "members[1]"),
        (b'{"memberz": ["a"]}', "members"),
        (b'{"members": ["a\\u0000"]}', "members[0]"),
        (b"[]", ""),
        (b"null", ""),
    ],
)
async def test_what_is_wrong_is_told_by_its_path(world: World, body: bytes, path: str) -> None:
    await world.scene.open("a-1")
    answer = await world.api.post("/v1/activities/a-1/complete", content=body)
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == [path]
    assert await published(world) == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"members": ["\xff"]}', b'{"x": ' + b"[" * 100_000])
async def test_what_is_no_json_is_told(world: World, body: bytes) -> None:
    await world.scene.open("a-1")
    answer = await world.api.post("/v1/activities/a-1/complete", content=body)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["detail"]


async def test_another_kind_of_content_is_refused(world: World) -> None:
    await world.scene.open("a-1")
    for kind, status in (
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=utf-8", 202),
        ("application/cloudevents+json", 202),
    ):
        answer = await world.api.post(
            "/v1/activities/a-1/close", content=b"{}", headers={"content-type": kind}
        )
        assert answer.status_code == status, kind
        assert status == 202 or "the header Content-Type: application/json" in answer.json()["detail"]


async def test_a_large_body_is_refused(world: World) -> None:
    await world.scene.open("a-1")
    answer = await world.api.post("/v1/activities/a-1/close", content=b" " * (1 << 20) + b"{}")
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "larger than a mebibyte" in answer.json()["detail"]


async def test_what_the_type_does_not_know_is_told_and_left_out(world: World) -> None:
    await world.scene.open("a-1")
    answer = await world.api.post(
        "/v1/activities/a-1/complete", json={"members": ["m"], "mood": "x" * 100_000}
    )
    assert answer.json()["ignored"] == ["mood"]
    (row,) = await published(world)
    assert msgspec.json.decode(row.body)["data"] == {"members": ["m"]}


async def test_an_activity_of_nobody_or_of_another_app_is_not_found(world: World) -> None:
    """Both look the same."""
    await world.scene.open("a-1")
    unknown = await world.api.post("/v1/activities/a-2/close")
    foreign = await world.client(OTHER_KEY).post("/v1/activities/a-1/close")
    assert unknown.status_code == foreign.status_code == 404
    assert unknown.content == foreign.content
    assert await published(world) == []
