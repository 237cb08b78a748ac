"""Tokens from where a company keeps them: its own service, or the file of WeChat's cloud hosting."""

from __future__ import annotations

import asyncio
import json as jsons
import os
import random
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from aiohttp import web

from contracts.wechat import STABLE_TOKEN_PATH, Verdict
from services.runtime.settings import Settings
from services.simulator.app import SimulatorServer
from services.simulator.requests import Request
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer, Created, NoWeChatMetrics
from services.wechat.sources import REREAD, STALE, UNSAID
from services.wechat.tokens import AGAIN
from tests.security.authority import Authority
from tests.wechat.conftest import MESSAGE
from tests.wechat.server import APPS, Platform, cut, json, raw

KEY = "canary-of-the-service"
SECRET = "canary-secret"


class Service:
    """A company's token service: the one who holds the secret and asks WeChat's stand-in by the old call,
    each of which kills the token before."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[web.Request], Any] = self.current
        self.token, self.url = "", ""
        self._runner: web.AppRunner | None = None

    async def current(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": self.token, "expires_in": 7200})

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        application = web.Application()
        application.router.add_get("/token/{app}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = self._runner.addresses[0][1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{port}/token/wx1?format=json"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("authorization", ""))
        assert request.path_qs == "/token/wx1?format=json"
        if self.asked[-1] != f"Bearer {KEY}":
            return web.Response(status=401, text=f"wrong: {self.asked[-1]}")
        response: web.StreamResponse = await self.answer(request)
        return response


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def standin() -> AsyncIterator[SimulatorServer]:
    server = SimulatorServer(apps={"wx1": SECRET}, chance=random.Random(1), auto_declare=True)
    await server.start()
    yield server
    await server.stop()


def refreshed(standin: SimulatorServer) -> str:
    """A token by the old call, which kills the one before."""
    model = standin.model
    query = {"grant_type": "client_credential", "appid": "wx1", "secret": SECRET}
    return str(
        jsons.loads(model.handle(standin.shell.now(), Request("GET", "/cgi-bin/token", query, b"")))[
            "access_token"
        ]
    )


def kept(path: Path, text: str) -> Path:
    """A file of ours with this content, replaced at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    return fresh.replace(path)


class Heard(NoWeChatMetrics):
    """Keeps whose tokens somebody else refreshed."""

    def __init__(self) -> None:
        self.replaced: list[str] = []

    def token_replaced(self, appid: str) -> None:
        self.replaced.append(appid)


def book(path: Path, entry: dict[str, str]) -> AppBook:
    """The apps file with one app."""
    return AppBook.load(Settings(apps_file=str(kept(path / "apps.json", jsons.dumps({"wx1": entry})))))


async def send(client: WeChatClient) -> Answer:
    return await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)


@pytest.fixture
def told() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_a_companys_service_gives_tokens_and_no_secret_is_needed(
    service: Service, standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    """With its own credential; the token is kept, and a card changed with it."""
    apps = book(tmp_path, {"token_url": service.url, "token_key": KEY})
    assert (apps.keeps_secret("wx1"), apps.names("wx1"), apps.secrets()) == (False, True, {})
    service.token = refreshed(standin)
    client = connect(standin.url, apps)
    assert [(await send(client)).verdict for _ in range(3)] == [Verdict.ok] * 3
    assert service.asked == [f"Bearer {KEY}"]
    assert isinstance(await client.create_activity_id("wx1"), Created)
    assert (await client.quota_left("wx1") or 0) > 0
    assert (await client.code2session("wx1", "code")).errmsg == "no secret is configured for this app"


async def test_another_credential_counts_at_once_and_is_told_to_the_gate(
    service: Service, standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    """A wrong one is the app's misconfiguration; the file's change renews the app, which opens its gate."""
    key = kept(tmp_path / "key", "wrong\n")
    apps = book(tmp_path, {"token_url": service.url, "token_key_file": str(key)})
    service.token = refreshed(standin)
    client = connect(standin.url, apps)
    answer = await send(client)
    assert (answer.verdict, answer.sent) == (Verdict.misconfigured, False)
    assert (
        answer.errmsg
        == "no token: the token service does not accept our credential (HTTP 401): see token_key"
    )
    assert apps.refresh() == set()
    kept(key, f"{KEY}\n")
    assert apps.refresh() == {"wx1"}
    assert (await send(client)).verdict is Verdict.ok


@pytest.mark.parametrize(
    ("handler", "verdict", "why"),
    [
        (raw(b"", 404), Verdict.misconfigured, "knows no such address (HTTP 404)"),
        (raw(b"", 503), Verdict.no_token, "the token service: HTTP 503"),
        (raw(b"", 302, headers={"location": "/x"}), Verdict.no_token, "the token service: HTTP 302"),
        (raw(b"<html>"), Verdict.no_token, "the token service: an unreadable answer"),
        (json(access_token=""), Verdict.no_token, "the token service answers without one"),
        (json(access_token="a b"), Verdict.no_token, "the token service answers without one"),
        (json(access_token="t\n"), Verdict.no_token, "the token service answers without one"),
        (json(access_token="t", expires_in=-1), Verdict.no_token, "the token service answers without one"),
        (
            json(errcode=40125, errmsg=f"invalid appsecret {KEY}"),
            Verdict.misconfigured,
            "invalid appsecret ***",
        ),
        (json(errcode=45009), Verdict.daily_limit, "no token: "),
        (json(errcode=-1), Verdict.no_token, "no token: "),
        (cut, Verdict.no_token, "the token service: ServerDisconnectedError"),
    ],
)
async def test_what_a_service_answers_instead_says_whose_affair_it_is(
    service: Service, platform: Platform, *, connect, tmp_path: Path, handler, verdict: Verdict, why: str
) -> None:
    """Never a reason to doubt a card: nothing was sent."""
    service.answer = handler
    client = connect(platform.url, book(tmp_path, {"token_url": service.url, "token_key": KEY}))
    answer = await send(client)
    assert (answer.verdict, answer.sent, platform.messages) == (verdict, False, [])
    assert why in answer.errmsg
    assert KEY not in answer.errmsg


@pytest.mark.parametrize(
    ("lives", "keeps"),
    [({}, UNSAID), ({"expires_in": 100}, 50), ({"expires_in": "7200"}, 7140), ({"expires_in": 10**9}, 7140)],
)
async def test_a_services_token_is_kept_as_long_as_it_says_and_no_longer_than_tokens_live(
    service: Service,
    platform: Platform,
    *,
    connect,
    clock,
    tmp_path: Path,
    lives: dict[str, Any],
    keeps: float,
) -> None:
    service.answer = json(access_token="t", **lives)
    client = connect(platform.url, book(tmp_path, {"token_url": service.url, "token_key": KEY}))
    for later, fetches in ((0.0, 1), (keeps - 0.1, 1), (0.2, 2)):
        clock.now += later
        assert (await send(client)).verdict is Verdict.ok
        assert len(service.asked) == fetches


async def test_a_services_certificate_is_checked_by_its_own_authority(
    standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "corporate")
    pair = authority.sign("tokens")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    service = Service()
    await service.start(served)
    service.token = refreshed(standin)
    entry = {"token_url": service.url, "token_key": KEY}
    answer = await send(connect(standin.url, book(tmp_path, entry)))
    assert answer.verdict is Verdict.no_token
    assert "the token service's certificate is not accepted" in answer.errmsg
    assert "(token_ca of wx1 names the authorities that are)" in answer.errmsg
    known = {**entry, "token_ca": str(authority.file)}
    assert (await send(connect(standin.url, book(tmp_path, known)))).verdict is Verdict.ok
    await service.stop()


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
    client = connect(standin.url, book(tmp_path, {"cloudbase_token_file": str(path)}))
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
