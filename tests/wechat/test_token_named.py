"""Somebody else who refreshes an app's token is noticed and named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from contracts.wechat import STABLE_TOKEN_PATH, Verdict
from services.simulator.app import SimulatorServer
from services.wechat.apps import AppBook
from services.wechat.tokens import AGAIN
from tests.wechat.company import KEY, SECRET, Heard, Service, book, refreshed, send
from tests.wechat.server import Platform, json


async def test_somebody_else_who_refreshes_a_services_token_is_named(
    service: Service, standin: SimulatorServer, *, connect, clock, tmp_path: Path, told: list[Any]
) -> None:
    """While the service does not know, the gate's code comes back with a line that says why; once it does,
    the call is repeated and the app counted."""
    metrics = Heard()
    apps = book(tmp_path, {"token_url": service.url, "token_key": KEY})
    client = connect(standin.url, apps, metrics=metrics)
    service.token = refreshed(standin)
    assert (await send(client)).verdict is Verdict.ok
    stolen = refreshed(standin)  # somebody beside the service
    answer = await send(client)
    assert (answer.verdict, answer.errcode, metrics.replaced) == (Verdict.token, 40001, [])
    named = [line for line in told if "hands out the token that WeChat refuses" in line["event"]]
    assert [(line["appid"], line["log_level"]) for line in named] == [("wx1", "warning")]
    service.token = stolen
    assert await client.has_other_token("wx1")
    assert (await send(client)).verdict is Verdict.ok
    clock.now += AGAIN
    service.token = refreshed(standin)  # the service was first this time: ours is dead, it has another
    assert ((await send(client)).verdict, metrics.replaced) == (Verdict.ok, ["wx1"])
    (line,) = [line for line in told if line["event"].startswith("somebody else refreshes this app's token")]
    assert (line["appid"], line["source"]) == ("wx1", "token_url")
    assert "let it ask the service" in line["hint"]


async def test_somebody_who_forces_a_refresh_of_the_stable_token_is_named(
    standin: SimulatorServer, connect, told: list[Any]
) -> None:
    """Once, however many calls were refused with the old one."""
    metrics = Heard()
    client = connect(standin.url, AppBook({"wx1": SECRET}), metrics=metrics)
    assert (await send(client)).verdict is Verdict.ok
    wish = {"grant_type": "client_credential", "appid": "wx1", "secret": SECRET, "force_refresh": True}
    async with httpx.AsyncClient() as somebody:
        assert "access_token" in (await somebody.post(standin.url + STABLE_TOKEN_PATH, json=wish)).json()
    assert {each.verdict for each in await asyncio.gather(*(send(client) for _ in range(8)))} == {Verdict.ok}
    assert metrics.replaced == ["wx1"]
    (line,) = [line for line in told if line["event"].startswith("somebody else refreshes this app's token")]
    assert (line["appid"], line["source"]) == ("wx1", "stable_token")
    assert "force_refresh" in line["hint"]


async def test_a_late_refusal_of_the_old_token_is_no_second_refresh(platform: Platform, connect) -> None:
    """The new one is in hand by then."""
    metrics = Heard()
    client = connect(platform.url, metrics=metrics)
    assert (await send(client)).verdict is Verdict.ok
    held = asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        await held.wait()
        return await platform.only_current(request)

    platform.message = late
    slow = asyncio.create_task(send(client))
    await platform.until(lambda: len(platform.messages) == 2)
    platform.number += 1
    platform.message = platform.only_current
    assert ((await send(client)).verdict, metrics.replaced) == (Verdict.ok, ["wx1"])
    held.set()
    assert ((await slow).verdict, metrics.replaced) == (Verdict.ok, ["wx1"])


async def test_a_token_whose_time_was_over_was_nobodys_doing(
    platform: Platform, connect, told: list[Any]
) -> None:
    metrics = Heard()
    client = connect(platform.url, metrics=metrics)
    await send(client)
    platform.number += 1
    answers = iter([json(errcode=42001), json(errcode=0)])

    async def message(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    platform.message = message
    assert ((await send(client)).verdict, metrics.replaced) == (Verdict.ok, [])
    assert not [line for line in told if "somebody else" in line["event"]]
