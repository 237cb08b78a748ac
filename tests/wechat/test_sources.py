"""Where an app's token comes from, and its secrets in files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from contracts.wechat import Verdict
from services.simulator.app import SimulatorServer
from tests.wechat.company import KEY, SECRET, Heard, Service, apps_file, book, kept, refreshed, send
from tests.wechat.server import APPS, Platform, json


async def test_a_secret_in_a_file_of_its_own_is_read_again(
    standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    secret = kept(tmp_path / "secret", "wrong\n")
    apps = book(tmp_path, {"secret_file": str(secret)})
    client = connect(standin.url, apps)
    assert (await send(client)).verdict is Verdict.misconfigured
    kept(secret, SECRET)
    assert (apps.refresh(), apps.refresh()) == ({"wx1"}, set())
    assert (await send(client)).verdict is Verdict.ok
    secret.chmod(0o644)
    assert apps.refresh() == set()
    assert apps.secret("wx1") == SECRET


async def test_a_token_from_where_the_apps_file_no_longer_says_is_not_used(
    service: Service, standin: SimulatorServer, *, connect, tmp_path: Path, told: list[Any]
) -> None:
    """Not for the hours that it has left; another secret alone leaves it. Nobody else has refreshed it."""
    metrics, apps = Heard(), book(tmp_path, SECRET)
    client = connect(standin.url, apps, metrics=metrics)
    assert (await send(client)).verdict is Verdict.ok
    apps_file(tmp_path, "another")
    assert apps.refresh() == {"wx1"}
    assert (await send(client)).verdict is Verdict.ok
    service.token = refreshed(standin)
    apps_file(tmp_path, {"token_url": service.url, "token_key": KEY})
    assert apps.refresh() == {"wx1"}
    assert [(await send(client)).verdict for _ in range(2)] == [Verdict.ok] * 2
    assert (len(service.asked), metrics.replaced) == (1, [])
    apps_file(tmp_path, {"token_url": service.url.replace("wx1", "wx2"), "token_key": KEY})
    apps.refresh()
    assert (await send(client)).verdict is Verdict.misconfigured
    kept(tmp_path / "apps.json", "{}")
    apps.refresh()
    assert (await send(client)).errmsg == "no secret is configured for this app"
    assert not [line for line in told if "somebody else" in line["event"]]


async def test_a_refusal_that_comes_after_the_source_was_changed_is_nobodys_refresh(
    service: Service, platform: Platform, *, connect, tmp_path: Path
) -> None:
    """The call is repeated with the new source's token."""
    metrics, apps, held = Heard(), book(tmp_path, SECRET), asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        await held.wait()
        return await platform.only_current(request)

    platform.message = late
    client = connect(platform.url, apps, metrics=metrics)
    slow = asyncio.create_task(send(client))
    await platform.until(lambda: len(platform.messages) == 1)
    platform.number += 1
    service.token = platform.value
    apps_file(tmp_path, {"token_url": service.url, "token_key": KEY})
    apps.refresh()
    held.set()
    assert ((await slow).verdict, metrics.replaced) == (Verdict.ok, [])


async def test_secrets_of_sources_never_show(
    service: Service, connect, tmp_path: Path, told: list[Any]
) -> None:
    apps = book(tmp_path, {"token_url": service.url, "token_key": KEY, "secret": SECRET})
    client = connect("http://127.0.0.1:9", apps)
    service.answer = json(500, errmsg=KEY)
    answer = await send(client)
    app = apps.app("wx1")
    assert app is not None
    shown = " ".join(map(repr, (apps, app, app.entry, app.state(), vars(app), answer, told)))
    assert [each for each in (KEY, SECRET, *APPS.values()) if each in shown] == []
