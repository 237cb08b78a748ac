"""A platform that says back whatever it was told, in every way that an answer can go wrong."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from contracts.wechat import CODE2SESSION_PATH, CREATE_ACTIVITY_ID_PATH, STABLE_TOKEN_PATH
from tests.security.authority import Pair

LIVES: int = 7200
SESSION_KEY = base64.b64encode(b"canary-sess-key1").decode()
GOOD_CODE = "canary-code-good"
Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


async def _redirect(_request: web.Request, echo: str) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"/elsewhere?{echo}"})


async def _html(_request: web.Request, echo: str) -> web.StreamResponse:
    return web.Response(text=f"<html>{echo}</html>", content_type="text/html")


async def _half(_request: web.Request, echo: str) -> web.StreamResponse:
    return web.Response(text=f'{{"errcode": 0, "errmsg": "{echo}')


async def _failure(_request: web.Request, echo: str) -> web.StreamResponse:
    return web.Response(status=500, text=echo, headers={"X-Echo": echo})


async def _silence(request: web.Request, _echo: str) -> web.StreamResponse:
    await asyncio.sleep(60)  # longer than any deadline of the caller, who cuts the connection
    return await _cut(request, "")


async def _cut(request: web.Request, _echo: str) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _code(errcode: int) -> Answer:
    async def answer(_request: web.Request, echo: str) -> web.StreamResponse:
        return web.json_response({"errcode": errcode, "errmsg": f"{echo} rid: canary-free-1"})

    return answer


WAYS: dict[str, Answer] = {
    "redirect": _redirect,
    "html": _html,
    "half": _half,
    "500": _failure,
    "silence": _silence,
    "cut": _cut,
    "-1": _code(-1),
    "40001": _code(40001),
    "a code that nobody knows": _code(987654),
}


class Evil:
    """Answers each call in the next of `WAYS`, and well from then on; every token is another. What callers of
    the API wait for has its own turns (`asked`, by path); a login with `GOOD_CODE` is one at once."""

    def __init__(self, pair: Pair | None = None) -> None:
        self._tls = None
        if pair is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(pair.certificate, pair.key)
        self.tokens: list[str] = []
        self.did: list[str] = []
        self.asked: dict[str, list[str]] = {CODE2SESSION_PATH: [], CREATE_ACTIVITY_ID_PATH: []}
        self.connections = 0
        application = web.Application()
        application.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "localhost", 0, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http{'s' if self._tls else ''}://localhost:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        if request.path == STABLE_TOKEN_PATH:
            self.tokens.append(f"canary-token-{len(self.tokens)}-{'x' * 100}")
            return web.json_response({"access_token": self.tokens[-1], "expires_in": LIVES})
        if request.query.get("js_code") == GOOD_CODE:
            return web.json_response({"openid": "o-alex", "session_key": SESSION_KEY})
        did = self.asked.get(request.path, self.did)
        todo = [name for name in WAYS if name not in did]
        if not todo:
            return web.json_response({"errcode": 0, "errmsg": "ok"})
        did.append(todo[0])
        return await WAYS[todo[0]](request, f"{request.path_qs} {body}".replace('"', "'"))
