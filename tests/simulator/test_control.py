"""The control endpoints, the ledger and the page."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, rid_of
from services.simulator.app import SimulatorServer


async def test_the_ledger_counts_calls_by_path_and_code_and_what_came_of_them(card):
    await card.send(1, ["alex"])
    await card.send(1, ["alex"])
    await card.send(9)
    await card.get("/cgi-bin/whatever")
    ledger = await card.ledger()
    assert ledger["calls"] == {
        SET_CHAT_TOOL_MSG_PATH: {"0": 2, "47502": 1},
        STABLE_TOKEN_PATH: {"0": 1},
        "other": {"40066": 1},
    }
    assert (ledger["applied"], ledger["repeated_posts"], ledger["lowered"]) == (2, 1, 0)
    assert ledger["activities"]["act"] == {
        "target_state": 1,
        "done": 1,
        "applied": 2,
        "repeated_posts": 1,
        "lowered": 0,
        "reopened": 0,
    }


async def test_activities_are_listed_newest_first(card):
    await card.post(
        "/control/activities",
        [{"activity_id": name, "appid": "wx1", "template": "complete"} for name in ("b", "c/d")],
    )
    listed = await card.get("/control/activities")
    assert [shown["activity_id"] for shown in listed["activities"]] == ["c/d", "b", "act"]
    listed = await card.get("/control/activities", limit=1)
    assert [shown["activity_id"] for shown in listed["activities"]] == ["c/d"]
    assert listed["total"] == 3
    assert (await card.card("c/d"))["activity_id"] == "c/d"


async def test_an_unknown_activity_is_404(client):
    async with client.http.get("/control/activities/none") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/control/activities", {"activity_id": "a"}),
        ("/control/activities", {"activity_id": "a", "appid": "x", "template": "other"}),
        (
            "/control/activities",
            {"activity_id": "a", "appid": "x", "template": "complete", "expires_at": "soon"},
        ),
        (
            "/control/activities",
            [
                {"activity_id": "a", "appid": "x", "template": "complete"},
                {"activity_id": "b", "appid": "x", "template": "complete", "expires_at": "soon"},
            ],
        ),
        ("/control/behaviour", {"nonsense": 1}),
        ("/control/behaviour", {"longest_list": "long"}),
        ("/control/quota", {"path": "/", "daily": -1}),
        ("/control/time", {}),
        ("/control/apps", {"apps": {"wx1": 7}}),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_and_changes_nothing(client, path, body):
    before = await client.get("/control/behaviour")
    async with client.http.post(path, json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]
    assert await client.get("/control/behaviour") == before
    assert (await client.get("/control/activities"))["total"] == 0


async def test_reset_forgets_everything_but_the_apps(card):
    await card.fault({"errcode": -1})
    await card.post("/control/time", {"advance": 100})
    await card.post("/control/reset")
    assert (await card.get("/control/activities"))["total"] == 0
    assert (await card.ledger())["calls"] == {}
    assert (await card.send(1))["errcode"] == 40001
    assert "access_token" in await card.log_in()


async def test_no_secret_is_shown_anywhere(card):
    for path in ("activities", "activities/act", "ledger", "faults", "behaviour"):
        async with card.http.get(f"/control/{path}") as response:
            text = await response.text()
        assert card.token not in text
        assert '"s1"' not in text


@pytest.mark.parametrize("path", ["/", "/sns/nothing", "/wxa/business/x", "/cgi-bin/whatever"])
async def test_any_other_path_is_answered_as_wechat_does(client, path):
    async with client.http.post(path) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["errcode"] == 40066
    assert rid_of(answer["errmsg"])


async def test_a_control_that_is_none_is_404(client):
    async with client.http.post("/control/nothing") as response:
        assert response.status == 404
        assert "no such control" in (await response.json())["error"]


async def test_an_app_takes_its_secret_from_the_addresses_of_its_list_only(client):
    """Calls with a token are not guarded by it (wechat-api.md §9)."""
    await client.log_in()
    await client.declare()
    await client.post("/control/addresses", {"appid": "wx1", "addresses": ["127.0.0.9"]})
    refused = await client.log_in()
    assert refused["errcode"] == 40164
    assert "127.0.0.1, not in whitelist" in refused["errmsg"]
    assert (await client.send(1, ["alex"]))["errcode"] == 0
    await client.post("/control/addresses", {"appid": "wx1", "addresses": None})
    assert "access_token" in await client.log_in()


async def test_the_page_needs_nothing_from_elsewhere(client):
    async with client.http.get("/") as response:
        assert response.status == 200
        page = await response.text()
    assert "群聊模拟" in page
    files = ["/", *(f"/{name}" for name in re.findall(r'(?:href|src)="(page[a-z_]*\.[a-z]+)"', page))]
    assert len(files) == 3
    for path in (*files, "/page_card.js", "/page_forms.js", "/page_elements.js", "/page_texts.js"):
        async with client.http.get(path) as response:
            assert response.status == 200, path
            policy = response.headers["Content-Security-Policy"]
            text = (await response.text()).replace("http://www.w3.org/2000/svg", "")  # a name, no address
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"https?://|<script>|<style|\bstyle=|\bon[a-z]+=\"", text), path


async def test_a_process_that_runs_it_is_told_to_be_well(client):
    for path in ("/healthz", "/readyz"):
        async with client.http.get(path) as response:
            assert response.status == 200


async def test_a_port_in_use_is_an_error_at_start(server):
    with pytest.raises(OSError, match="address"):
        await SimulatorServer(port=server.port).start()


async def test_it_can_be_mounted_onto_another_application(server, client):
    other = SimulatorServer(apps={"wx7": "s7"})
    application = web.Application()
    application.add_routes(other.routes())
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        wish = {"grant_type": "client_credential", "appid": "wx7", "secret": "s7"}
        async with client.http.post(f"http://{host}:{port}{STABLE_TOKEN_PATH}", json=wish) as response:
            assert "access_token" in await response.json()
    finally:
        await runner.cleanup()
