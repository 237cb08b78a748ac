"""The token file of WeChat's cloud hosting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from contracts.wechat import Verdict
from services.simulator.app import SimulatorServer
from services.wechat.ports import Created
from services.wechat.sources import REREAD, STALE
from tests.wechat.company import Heard, book, send
from tests.wechat.server import Platform


async def test_the_cloud_hostings_file_is_enough(
    standin: SimulatorServer, connect, clock, tmp_path: Path
) -> None:
    """No secret at all, and whoever else may read the file; a renewed one is found by the next look, and at
    once where WeChat refuses the old one."""
    path = tmp_path / "cloudbase_access_token"

    async def renew() -> str:
        async with httpx.AsyncClient() as control:
            answer = await control.post(f"{standin.url}/control/tokens/cloudbase", json={"appid": "wx1"})
        path.write_text(answer.json()["cloudbase_access_token"] + "\n")
        path.chmod(0o644)
        return path.read_text().strip()

    first = await renew()
    metrics = Heard()
    client = connect(standin.url, book(tmp_path, {"cloudbase_token_file": str(path)}), metrics=metrics)
    assert (await send(client)).verdict is Verdict.ok
    assert isinstance(await client.create_activity_id("wx1"), Created)
    await renew()
    clock.now += REREAD
    assert (await send(client)).verdict is Verdict.ok
    async with httpx.AsyncClient() as control:
        await control.post(f"{standin.url}/control/tokens/revoke", json={"appid": "wx1"})
    assert (await send(client)).verdict is Verdict.token
    last = await renew()
    assert last != first
    assert await client.has_other_token("wx1")
    assert (await send(client)).verdict is Verdict.ok
    standin.model.tokens.revoke("wx1")
    await renew()
    assert ((await send(client)).verdict, metrics.replaced) == (Verdict.ok, [])


async def test_a_hosted_token_goes_by_its_own_name_and_as_no_other(
    platform: Platform, connect, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("hosted-token")
    seen: list[dict[str, str]] = []

    async def message(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.query))
        return web.json_response({"errcode": 0})

    platform.others["/cgi-bin/message/wxopen/chattoolmsg/send"] = message
    platform.message = message
    client = connect(platform.url, book(tmp_path, {"cloudbase_token_file": str(path)}))
    assert (await send(client)).verdict is Verdict.ok
    assert (seen, platform.fetches) == ([{"cloudbase_access_token": "hosted-token"}], [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "holds no token"),
        ("a b", "holds no token"),
        ("t" * 3000, "holds no token"),
    ],
)
async def test_a_file_without_a_token_sends_nothing(
    platform: Platform, connect, tmp_path: Path, content: str | None, why: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    client = connect(platform.url, book(tmp_path, {"cloudbase_token_file": str(path)}))
    answer = await send(client)
    assert (answer.verdict, answer.sent, platform.messages) == (Verdict.no_token, False, [])
    assert answer.errmsg.startswith("no token: cloudbase_token_file: ")
    assert why in answer.errmsg


async def test_a_file_that_nobody_renews_is_named(
    standin: SimulatorServer, connect, clock, tmp_path: Path, told: list[Any]
) -> None:
    path = tmp_path / "token"
    path.write_text("86_old")
    written = clock.wall() / 1_000_000 - STALE - 60
    os.utime(path, (written, written))
    client = connect(standin.url, book(tmp_path, {"cloudbase_token_file": str(path)}))
    assert (await send(client)).verdict is Verdict.token
    assert [line["minutes"] for line in told if "has not renewed its token file" in line["event"]][:1] == [31]
