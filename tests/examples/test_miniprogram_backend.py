"""The mini program's backend, before a real gateway: who may do what, and what a page is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.line import free_port
from tests.e2e.up import Up, up
from tests.examples.stage import backend

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ROOM = {"appid": "wx1", "opengid": "g-backend"}


class Pages:
    """What the pages of a user's ask the backend."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client, self._headers = client, {"Authorization": f"Bearer {token}"}

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self._client.post(path, json=body or {}, headers={**self._headers, **headers})

    async def get(self, path: str) -> httpx.Response:
        return await self._client.get(path, headers=self._headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    async with up(tmp_path_factory.mktemp("up")) as found:
        async with httpx.AsyncClient(base_url=found.page) as simulator:
            members = {"o-cindy": "gp-cindy", "o-alex": "gp-alex", "o-bob": "gp-bob"}
            await simulator.post("/control/rooms", json={**ROOM, "members": members})
            other = {"appid": "wx1", "opengid": "g-other", "members": {"o-eve": "gp-eve"}}
            await simulator.post("/control/rooms", json=other)
        yield found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backend") / "log"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(running: Up, log: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with backend(running.gateway, running.key, log) as url, httpx.AsyncClient(base_url=url) as found:
        yield found


async def entered(running: Up, client: httpx.AsyncClient, openid: str, room: str = "g-backend") -> Pages:
    """Log in and bind, as a page does."""
    async with httpx.AsyncClient(base_url=running.page) as simulator:
        asked = {"appid": "wx1", "opengid": room, "openid": openid, "login": True}
        given = (await simulator.post("/control/page", json=asked)).json()
    answer = await client.post("/login", json={"js_code": given.pop("js_code")})
    assert answer.json().keys() == {"token"}, answer.text
    pages = Pages(client, answer.json()["token"])
    assert (await pages.post("/bind", {**given, "nickname": openid})).status_code == 200
    return pages


async def created(pages: Pages, **more: Any) -> str:
    body = {"template": "complete", "title": "团建报名统计", "participants": ["gp-alex", "gp-bob"], **more}
    answer = await pages.post("/activities", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["activity_id"])


async def test_everybody_sees_who_they_are_for_a_card(running: Up, client: httpx.AsyncClient) -> None:
    """Room, app and publisher come from the binding; each viewer's `me` from who is asking."""
    cindy = await entered(running, client, "o-cindy")
    card = f"/activities/{await created(cindy)}"
    alex = await entered(running, client, "o-alex")
    assert [(await each.get(card)).json()["me"] for each in (cindy, alex)] == ["bystander", "pending"]
    assert (await alex.post(f"{card}/complete")).status_code == 202
    while (await alex.get(card)).json()["me"] != "done":
        pass
    missing = (await cindy.get(f"{card}/missing?entrance_path=/pages/task")).json()
    assert missing["notify"]["members"] == ["gp-bob"]
    known = (await cindy.get("/room/members")).json()["members"]
    assert {each["group_openid"] for each in known} == {"gp-cindy", "gp-alex"}
    assert (await cindy.post(f"{card}/close")).status_code == 202


async def test_nobody_does_what_is_not_theirs(running: Up, client: httpx.AsyncClient) -> None:
    """Another room's card stays closed to them, and only its publisher ends it."""
    cindy = await entered(running, client, "o-cindy")
    card = f"/activities/{await created(cindy)}"
    eve = await entered(running, client, "o-eve", "g-other")
    for answer in (await eve.get(card), await eve.post(f"{card}/complete"), await eve.get(f"{card}/missing")):
        assert answer.status_code == 403
        assert answer.headers["Content-Type"] == "application/problem+json"
    alex = await entered(running, client, "o-alex")
    assert (await alex.post(f"{card}/close")).json()["detail"] == "only who published it can close it"
    assert (await alex.get("/activities/none")).status_code == 404
    assert (await alex.post("/activities", {"publisher": "gp-bob"})).status_code == 422


async def test_a_repeated_creation_makes_one_card(running: Up, client: httpx.AsyncClient) -> None:
    """Under the page's own key; another user's same key is another's."""
    body = {"template": "complete", "title": "once", "participants": ["gp-alex"]}
    ids = []
    for openid in ("o-cindy", "o-cindy", "o-bob"):
        pages = await entered(running, client, openid)
        answer = await pages.post("/activities", body, **{"Idempotency-Key": "the-same"})
        ids.append(answer.json()["activity_id"])
    assert ids[0] == ids[1] != ids[2]


async def test_errors_are_sentences(running: Up, client: httpx.AsyncClient) -> None:
    """No token, a used code, an unreadable body, an empty one, what does not open."""
    stranger = Pages(client, "made-up")
    assert (await stranger.get("/room/members")).json()["detail"].startswith("log in again")
    used = await client.post("/login", json={"js_code": "made-up"})
    assert used.status_code == 401
    assert "call wx.login again" in used.json()["errors"][0]["message"]
    assert (await client.post("/login", content=b"{")).status_code == 400
    assert (await client.post("/login", content=b"[]")).status_code == 400
    assert (await client.post("/login", content=b" " * 70_000)).status_code == 413
    cindy = await entered(running, client, "o-cindy")
    assert (await cindy.post("/bind", {"encryptedData": "AAAA", "iv": "AAAA"})).status_code == 422
    async with httpx.AsyncClient(base_url=running.page) as simulator:
        code = await simulator.post("/control/codes", json={"appid": "wx1", "openid": "o-new"})
    token = (await client.post("/login", json={"js_code": code.json()["code"]})).json()["token"]
    assert (await Pages(client, token).get("/room/members")).status_code == 409


async def test_neither_keys_nor_sessions_are_logged(
    running: Up, client: httpx.AsyncClient, log: Path
) -> None:
    cindy = await entered(running, client, "o-cindy")
    await cindy.get("/room/members?secret=1")
    told = await asyncio.to_thread(log.read_text)
    assert "GET /room/members 200" in told
    assert "POST /login 200" in told
    assert "secret" not in told
    assert running.key not in told
    assert "Bearer" not in told


async def test_a_wrong_key_and_a_gateway_that_is_away_are_told(running: Up, tmp_path: Path) -> None:
    """The page's user is not asked to log in again for what is not theirs to mend."""
    for gateway, key, status in (
        (running.gateway, "wrong", 502),
        (f"http://127.0.0.1:{free_port()}", running.key, 503),
    ):
        async with backend(gateway, key, tmp_path / "log") as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.post("/login", json={"js_code": "a-code"}, timeout=30)
            assert answer.status_code == status
            assert "Traceback" not in await asyncio.to_thread((tmp_path / "log").read_text)
