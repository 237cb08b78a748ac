"""What companies have: a token service of their own, with its own credential, and files of secrets."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from services.runtime.settings import Settings
from services.simulator.app import SimulatorServer
from services.simulator.requests import Request
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer, NoWeChatMetrics
from tests.wechat.server import MESSAGE

KEY: Final = "canary-of-the-service"
SECRET: Final = "canary-secret"


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
        if request.path_qs != "/token/wx1?format=json":
            return web.Response(status=404)
        if self.asked[-1] != f"Bearer {KEY}":
            return web.Response(status=401, text=f"wrong: {self.asked[-1]}")
        response: web.StreamResponse = await self.answer(request)
        return response


def refreshed(standin: SimulatorServer) -> str:
    """A token by the old call, which kills the one before."""
    query = {"grant_type": "client_credential", "appid": "wx1", "secret": SECRET}
    said = standin.shell.apply(Request("GET", "/cgi-bin/token", query, b""))
    return str(json.loads(said)["access_token"])


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


def book(folder: Path, entry: Any) -> AppBook:
    """The apps file `apps.json` with one app."""
    return AppBook.load(Settings(apps_file=str(apps_file(folder, entry))))


def apps_file(folder: Path, entry: Any) -> Path:
    """Written anew."""
    return kept(folder / "apps.json", json.dumps({"wx1": entry}))


async def send(client: WeChatClient) -> Answer:
    return await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
