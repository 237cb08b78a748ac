"""The page's buttons: what they ask of livecard's gateway, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from services.simulator.acting import PEOPLE
from services.simulator.app import SimulatorServer
from tests.simulator.gateway import StandInGateway

WISH = {"appid": "wx1", "title": "团建", "participants": ["gp-alex"], "close_when_complete": True}
URL = "/control/livecard"


async def test_an_activity_is_created_at_the_gateway_and_its_card_comes_into_the_chat(
    client: Any, server: SimulatorServer, gateway: StandInGateway
) -> None:
    server.acting.through(gateway.url, gateway.key)
    answer = await client.post(f"{URL}/open", {**WISH, "deadline": 120, "notice": 60})
    assert answer["activity_id"] == "966/x"
    ((path, body),) = gateway.asked
    assert path == "/v1/activities"
    assert body == {
        "appid": "wx1",
        "title": "团建",
        "template": "complete",
        "choose": "listed",
        "publisher": "gp-cindy",
        "room": {"opengid": "g-1"},
        "participants": ["gp-alex"],
        "close_when_complete": True,
        "deadline": "2026-11-21T08:02:00Z",
        "notice": 60,
    }
    card = await client.card("966/x")
    assert (card["title"], card["names"], card["publisher"]) == ("团建", PEOPLE, "gp-cindy")
    assert card["viewers"]["participants"] == {"gp-alex": "未完成"}


async def test_for_everyone_nobody_is_listed(
    client: Any, server: SimulatorServer, gateway: StandInGateway
) -> None:
    server.acting.through(gateway.url, gateway.key)
    await client.post(f"{URL}/open", {**WISH, "choose": "everyone"})
    ((_, body),) = gateway.asked
    assert {"participants", "close_when_complete"} & set(body) == set()
    assert (await client.card("966/x"))["viewers"]["others"] == "未完成"


async def test_completing_and_closing_go_to_the_gateway_and_change_no_card_themselves(
    client: Any, server: SimulatorServer, gateway: StandInGateway
) -> None:
    server.acting.through(gateway.url, gateway.key)
    await client.post(f"{URL}/open", WISH)
    before = await client.card("966/x")
    await client.post(f"{URL}/complete", {"activity_id": "966/x", "members": ["gp-alex"]})
    await client.post(f"{URL}/close", {"activity_id": "966/x"})
    assert gateway.asked[1:] == [
        ("/v1/activities/966%2Fx/complete", {"members": ["gp-alex"]}),
        ("/v1/activities/966%2Fx/close", {}),
    ]
    assert await client.card("966/x") == before


async def test_what_the_gateway_refuses_is_told_with_its_words(
    client: Any, server: SimulatorServer, gateway: StandInGateway
) -> None:
    server.acting.through(gateway.url, gateway.key)
    gateway.refusal = 422, {"title": "Unprocessable", "errors": [{"path": "title", "message": "too long"}]}
    async with client.http.post(f"{URL}/open", json=WISH) as response:
        assert response.status == 422
        assert await response.json() == {"error": "Unprocessable; title: too long"}
    assert (await client.get("/control/activities"))["total"] == 0


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [("", 409, "LIVECARD_SIMULATOR_GATEWAY"), ("http://127.0.0.1:9", 502, "see that it runs")],
)
async def test_without_a_gateway_that_answers_one_sentence_says_what_to_do(
    client: Any, server: SimulatorServer, url: str, status: int, words: str
) -> None:
    if url:
        server.acting.through(url, "lck_canary")
    async with client.http.post(f"{URL}/close", json={"activity_id": "a"}) as response:
        assert response.status == status
        told = (await response.json())["error"]
    assert words in told
    assert "canary" not in told
