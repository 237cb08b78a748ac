"""Whoever reads: keys by their names, and what is answered to them."""

from __future__ import annotations

from typing import Any

import httpx

from services.gateway.app import application
from services.gateway.front import Front
from services.gateway.keys import SCOPES, ApiKeys, KeyEntry, hash_of
from tests.gateway.world import World

KEYS = {
    "all": KeyEntry("all", SCOPES, ("wx1", "wx2")),
    "other": KeyEntry("other", SCOPES, ("wx9",)),
    "none": KeyEntry("none", SCOPES, ()),
    **{scope: KeyEntry(scope, (scope,), ("wx1",)) for scope in SCOPES},
}
"""A key is its name here."""


class Api:
    """Asks as the holder of a key, `all` unless another is named."""

    def __init__(self, world: World) -> None:
        self.scene, self.gateway = world.scene, world.gateway
        keys = ApiKeys({hash_of(name): entry for name, entry in KEYS.items()})
        front = Front(application(world.gateway, keys), world.gateway)
        transport = httpx.ASGITransport(app=front)  # type: ignore[arg-type]  # two spellings of ASGI
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def ask(self, method: str, path: str, key: str = "all", **how: Any) -> httpx.Response:
        """The whole answer."""
        headers = {"authorization": f"Bearer {key}", **how.pop("headers", {})}
        return await self._client.request(method, path, headers=headers, **how)

    async def get(self, path: str, key: str = "all", **params: Any) -> Any:
        """The body of a 200."""
        answer = await self.ask("GET", path, key, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def refused(self, status: int, method: str, path: str, key: str = "all", **params: Any) -> Any:
        """The problem that is answered; `json` is the body."""
        body = {"json": params.pop("json")} if "json" in params else {}
        answer = await self.ask(method, path, key, params=params, **body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        return problem

    async def pages(self, path: str, what: str, **params: Any) -> list[Any]:
        """All of a list, page by page."""
        found: list[Any] = []
        body = await self.get(path, **params)
        while True:
            found += body[what]
            if body["next"] is None:
                return found
            body = await self.get(path, cursor=body["next"], **params)
