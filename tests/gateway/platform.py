"""WeChat for the API's tests: the stand-in's model behind the real client, without a socket."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from contracts.wechat import CODE2SESSION_PATH, CREATE_ACTIVITY_ID_PATH
from services.gateway.session_keys import SessionKeys
from services.runtime.clock import RealClock
from services.simulator.model import Session, WeChatModel
from services.simulator.requests import Request, refusal_body
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.transport import Exchange
from tests.gateway.world import World
from tests.store.benches import Bench

APPS = {"wx1": "canary-secret-1", "wx2": "canary-secret-2"}


class Platform:
    """Answers as the model does, unless `lies` has an answer for a path; `asked` are the paths, tokens' left
    out. `before_answer` is awaited when a call was applied and is not answered yet."""

    def __init__(self) -> None:
        self.model = WeChatModel(APPS, random.Random(5))
        self.lies: dict[str, Exchange] = {}
        self.asked: list[str] = []
        self.before_answer: Callable[[str], Awaitable[None]] | None = None
        self.clock = RealClock()

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        """One call."""
        if path in (CREATE_ACTIVITY_ID_PATH, CODE2SESSION_PATH):
            self.asked.append(path)
        if path in self.lies:
            return self.lies[path]
        said = self.model.handle(self.clock.wall(), Request(method, path, query, body or b""))
        if self.before_answer is not None:
            await self.before_answer(path)
        return Exchange(200, said)

    async def close(self) -> None:
        """Nothing to give back."""

    def refuse(self, path: str, errcode: int) -> None:
        """Answer this code from now on."""
        self.lies[path] = Exchange(200, refusal_body("1-2-3", errcode))

    def admit(self, code: str, openid: str | None = "o-alex", appid: str = "wx1", **more: Any) -> None:
        """`wx.login` gave a page this code."""
        self.model.admit(code, Session(appid=appid, openid=openid, **more))


class Stage(World):
    """The API with WeChat behind it."""

    def __init__(self, bench: Bench, apps: Mapping[str, str] = APPS, **parts: Any) -> None:
        self.platform = Platform()
        clock, book = RealClock(), AppBook(dict(apps))
        client = WeChatClient("", book, clock, transport=self.platform)
        keys = SessionKeys([bytes(range(32))], random.Random(7))
        super().__init__(bench, **{"wechat": client, "apps": book, "session_keys": keys, **parts})
