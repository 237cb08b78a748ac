"""The API on a store of its own, without a socket: what a caller sends, and what is answered."""

from __future__ import annotations

import random
from typing import Any

import httpx
from litestar import Litestar

from services.gateway.app import application
from services.gateway.dependencies import Gateway
from services.gateway.feed import Feed
from services.gateway.front import Front
from services.gateway.keys import SCOPES, ApiKeys, KeyEntry, hash_of
from services.runtime.clock import RealClock
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.store.benches import Bench
from tests.store.support import Scene

APP, OTHER = "wx1", "wx2"
ALL_KEY, OTHER_KEY = "lck_all-of-wx1", "lck_all-of-wx2"
SCOPE_KEYS = {scope: f"lck_{scope}-of-wx1" for scope in SCOPES}
"""A key that has this scope alone."""


class Kicks:
    """Counts how often the relay was woken."""

    def __init__(self) -> None:
        self.kicked = 0

    def kick(self) -> None:
        self.kicked += 1


class World:
    """`api` calls with every scope for `wx1`; `client(key)` with another key, None: without one."""

    def __init__(self, bench: Bench, **parts: Any) -> None:
        self.bench, self.scene = bench, Scene(bench)
        self.relay = Kicks()
        clock = RealClock()
        apps = AppBook({APP: "secret-1", OTHER: "secret-2"})
        given: dict[str, Any] = {
            "store": bench.store,
            "wechat": WeChatClient("http://127.0.0.1:9", apps, clock, in_flight=4, deadline=1.0),
            "apps": apps,
            "clock": clock,
            "chance": random.Random(11),
            "relay": self.relay,
            "settings": Settings(),
            "metrics": Metrics(),
            "feed": Feed(clock),
        }
        self.gateway = Gateway(**(given | parts))
        self.app: Litestar = application(self.gateway, keys())
        self.front = Front(self.app, self.gateway)
        self.api = self.client(ALL_KEY)

    def client(self, key: str | None, **headers: str) -> httpx.AsyncClient:
        """A caller with this key."""
        if key is not None:
            headers = {"authorization": f"Bearer {key}", **headers}
        transport = httpx.ASGITransport(app=self.front)  # type: ignore[arg-type]  # two spellings of ASGI
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)

    async def close(self) -> None:
        """Let everything go."""
        await self.gateway.wechat.close()


def keys() -> ApiKeys:
    """Keys with every scope for either app, and one for each scope."""
    return ApiKeys(
        {
            hash_of(ALL_KEY): KeyEntry("all", SCOPES, (APP,)),
            hash_of(OTHER_KEY): KeyEntry("other", SCOPES, (OTHER,)),
            **{hash_of(key): KeyEntry(scope, (scope,), (APP,)) for scope, key in SCOPE_KEYS.items()},
        }
    )
