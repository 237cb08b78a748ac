"""A simulator on a real port, with a clock that stands still until a test moves it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from contracts.times import SECOND
from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, TEMPLATE_IDS
from scripts.patience import PATIENCE
from services.simulator.app import SimulatorServer
from tests.simulator.gateway import StandInGateway

START = 1_795_248_000 * SECOND  # 2026-11-21T08:00:00Z, 16:00 in Shanghai


class StandingClock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = START

    def monotonic(self) -> float:
        return self.now / SECOND

    def wall(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class Client:
    """What a server of the mini program, and a tester at the control endpoints, can do."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.token = ""

    async def get(self, path: str, **query: Any) -> Any:
        async with self.http.get(path, params=query) as response:
            return await response.json()

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        async with self.http.post(path, json=body, params=query) as response:
            return await response.json()

    async def log_in(self, appid: str = "wx1", secret: str = "s1", **more: Any) -> Any:
        """Fetch a stable token and keep it for `send`."""
        body = {"grant_type": "client_credential", "appid": appid, "secret": secret, **more}
        answer = await self.post(STABLE_TOKEN_PATH, body)
        self.token = answer.get("access_token", self.token)
        return answer

    async def declare(self, activity_id: str = "act", **more: Any) -> Any:
        body = {"activity_id": activity_id, "appid": "wx1", "template": "complete", **more}
        return await self.post("/control/activities", body)

    async def send(
        self, target_state: Any, members: Any = (), *, token: str | None = None, **more: Any
    ) -> Any:
        """setChatToolMsg; `members` None leaves the list out, `more` overrides the body."""
        body = {
            "activity_id": "act",
            "target_state": target_state,
            "template_id": TEMPLATE_IDS["complete"],
            "version_type": 0,
            "participator_info_list": [{"group_openid": member, "state": 1} for member in members or ()],
            **more,
        }
        if members is None:
            del body["participator_info_list"]
        return await self.post(SET_CHAT_TOOL_MSG_PATH, body, access_token=token or self.token)

    async def card(self, activity_id: str = "act") -> Any:
        return await self.get(f"/control/activities/{activity_id}")

    async def ledger(self) -> Any:
        return await self.get("/control/ledger")

    async def fault(self, action: dict[str, Any], **rule: Any) -> Any:
        return await self.post("/control/faults", {"action": action, **rule})


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def server(clock: StandingClock, tmp_path) -> AsyncIterator[SimulatorServer]:
    running = SimulatorServer(
        apps={"wx1": "s1", "wx2": "s2"},
        clock=clock,
        chance=random.Random(1),
        faults_file=tmp_path / "faults.json",
    )
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def client(server: SimulatorServer) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(server.url, timeout=timeout) as http:
        yield Client(http)


@pytest.fixture
async def card(client: Client) -> Client:
    """A client that is logged in, with one card `act` in a chat of cindy, alex, bob and dora."""
    await client.log_in()
    await client.declare(
        title="团建",
        publisher="cindy",
        participants=["alex", "bob"],
        members=["dora"],
        names={"cindy": "小红", "alex": "小明"},
    )
    return client


@pytest.fixture
async def gateway() -> AsyncIterator[StandInGateway]:
    """A stand-in for livecard's gateway, on a real port."""
    running = StandInGateway()
    await running.start()
    yield running
    await running.stop()
