"""The client and the project's own stand-in for WeChat understand each other."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from contracts.wechat import STABLE_TOKEN_PATH, Verdict
from services.simulator.app import SimulatorServer
from services.simulator.requests import Request
from services.wechat.ports import Created
from tests.wechat.server import APPS, MESSAGE


@pytest.fixture
async def standin() -> AsyncIterator[SimulatorServer]:
    server = SimulatorServer(apps=APPS, chance=random.Random(1), auto_declare=True)
    await server.start()
    yield server
    await server.stop()


async def test_a_card_is_changed_also_after_its_token_was_revoked(standin: SimulatorServer, connect) -> None:
    client = connect(standin.url)
    assert (await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)).verdict is Verdict.ok
    force = (
        f'{{"grant_type":"client_credential","appid":"wx1","secret":"{APPS["wx1"]}","force_refresh":true}}'
    )
    standin.shell.apply(Request("POST", STABLE_TOKEN_PATH, {}, force.encode()))
    assert (await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)).verdict is Verdict.ok


async def test_questions_are_answered(standin: SimulatorServer, connect) -> None:
    client = connect(standin.url)
    left = await client.quota_left("wx1")
    assert left is not None
    assert left > 0
    created = await client.create_activity_id("wx1")
    assert isinstance(created, Created)
    assert created.expires_at > standin.shell.now()


async def test_a_wrong_secret_is_told_from_everything_else(standin: SimulatorServer, connect) -> None:
    standin.model.apps.put("wx1", "another")
    answer = await connect(standin.url).set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
    assert (answer.verdict, answer.sent) == (Verdict.misconfigured, False)
