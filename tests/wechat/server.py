"""A server on a real port that answers WeChat's calls as a test scripts it, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from contracts.wechat import (
    SET_CHAT_TOOL_MSG_PATH,
    STABLE_TOKEN_PATH,
    TEMPLATE_IDS,
    ParticipatorInfo,
    SetChatToolMsg,
)
from scripts.patience import PATIENCE

APPS: Final = {"wx1": "sesame-canary-one", "wx2": "sesame-canary-two"}
TOKEN: Final = "86_token-canary-"

MESSAGE: Final = SetChatToolMsg(
    activity_id="966_NGiq",
    target_state=1,
    template_id=TEMPLATE_IDS["complete"],
    version_type=0,
    participator_info_list=(ParticipatorInfo("gp-alex"),),
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json(status: int = 200, content_type: str = "text/plain", **body: Any) -> Handler:
    """Answer with this object, as text/plain: WeChat does."""
    return raw(msgspec.json.encode(body), status, content_type)


def raw(
    body: bytes, status: int = 200, content_type: str = "text/plain", headers: dict[str, str] | None = None
) -> Handler:
    """Answer with these bytes."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type=content_type, headers=headers)

    return answer


OK: Final = json(errcode=0, errmsg="ok")


async def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection after the request was read, without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Announce a whole answer, send half of it, close."""
    whole = b'{"errcode":0,"errmsg":"ok"}'
    response = web.StreamResponse(headers={"Content-Length": str(len(whole) + 5)})
    await response.prepare(request)
    await response.write(whole)
    assert request.transport is not None
    request.transport.close()  # unlike abort, sends what was written
    return response


class Platform:
    """`token` and `message` answer the two calls (other paths: `others`); both may be replaced."""

    def __init__(self) -> None:
        self.number = 1
        self.token: Handler = self.current_token
        self.message: Handler = OK
        self.others: dict[str, Handler] = {}
        self.fetches: list[dict[str, Any]] = []
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[web.Request] = []
        self.peers: list[tuple[str, tuple[str, int]]] = []
        self.story: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.released = asyncio.Event()
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def value(self) -> str:
        """The token that is valid now."""
        return f"{TOKEN}{self.number}"

    async def current_token(self, _request: web.Request) -> web.StreamResponse:
        """The stable token, whoever asks."""
        return web.json_response({"access_token": self.value, "expires_in": 7200})

    async def only_current(self, request: web.Request) -> web.StreamResponse:
        """Refuse messages with another token than the valid one."""
        good = request.query["access_token"] == self.value
        return web.json_response({"errcode": 0 if good else 40001, "errmsg": "rid: 6501-0a1b-2c3d"})

    async def hang(self, _request: web.Request) -> web.StreamResponse:
        """Say nothing until released."""
        await self.released.wait()
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """An answer whose end does not come until released."""
        return await self._drip(request, 200)

    async def drip_429(self, request: web.Request) -> web.StreamResponse:
        """The status at once, the body never."""
        return await self._drip(request, 429)

    async def _drip(self, request: web.Request, status: int) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "27"})
        await response.prepare(request)
        await response.write(b'{"errcode":0,')
        await self.released.wait()
        return response

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something the server saw makes it true."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(true)

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        application = web.Application(client_max_size=16 << 20)
        application.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self.released.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(request)
        assert request.transport is not None
        self.peers.append((request.path, request.transport.get_extra_info("peername")))
        handler = self.others.get(request.path)
        if request.path == STABLE_TOKEN_PATH:
            self.fetches.append(msgspec.json.decode(body))
            self.story.append("token")
            handler = self.token
        elif request.path == SET_CHAT_TOOL_MSG_PATH:
            self.messages.append((request.query.get("access_token", ""), msgspec.json.decode(body)))
            self.story.append("message")
            handler = self.message
        assert handler is not None, request.path
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self._news:
            self._news.notify_all()
        try:
            return await handler(request)
        finally:
            self.at_once -= 1
