"""The API in this process, over every engine of the store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from services.gateway.app import application
from services.gateway.front import Front
from services.gateway.keys import SCOPES, ApiKeys, KeyEntry, hash_of
from services.gateway.parts import Gateway
from services.runtime.settings import Settings
from services.store.open import migrate
from tests.engines.support import run_apart
from tests.gateway.platform import Stage
from tests.gateway.world import World
from tests.store.benches import SqliteBench
from tests.store.conftest import bench, migrated_postgres, migrated_sqlite, postgres, scene
from tests.store.support import Scene

__all__ = ["api", "bench", "migrated_postgres", "migrated_sqlite", "postgres", "scene"]

KEYS = {
    "all": KeyEntry("all", SCOPES, ("wx1", "wx2")),
    "other": KeyEntry("other", SCOPES, ("wx9",)),
    "none": KeyEntry("none", SCOPES, ()),
    **{scope: KeyEntry(scope, (scope,), ("wx1",)) for scope in SCOPES},
}
"""A key is its name here."""


class Api:
    """Asks as the holder of a key, `all` unless another is named."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        nothing = cast("Any", None)
        self.gateway = Gateway(
            store=scene.store,
            wechat=nothing,
            apps=nothing,
            clock=nothing,
            chance=nothing,
            relay=nothing,
            settings=Settings(),
            metrics=nothing,
        )
        keys = ApiKeys({hash_of(name): entry for name, entry in KEYS.items()})
        front = cast("Any", Front(application(self.gateway, keys), self.gateway))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(front), base_url="http://livecard.test"
        )

    async def ask(self, method: str, path: str, key: str = "all", **how: Any) -> httpx.Response:
        """The whole answer."""
        return await self.client.request(method, path, headers={"authorization": f"Bearer {key}"}, **how)

    async def get(self, path: str, key: str = "all", **params: Any) -> Any:
        """The body of a 200."""
        answer = await self.ask("GET", path, key, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def refused(self, status: int, method: str, path: str, key: str = "all", **params: Any) -> Any:
        """The problem that is answered."""
        answer = await self.ask(method, path, key, params=params)
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


@pytest.fixture
async def api(scene: Scene) -> AsyncIterator[Api]:
    """The API over each engine."""
    made = Api(scene)
    async with made.client:
        yield made


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("gateway") / "migrated.sqlite3"
    run_apart(migrate(f"sqlite+aiosqlite:///{path}", finish=True))
    return path


@pytest.fixture
async def world(migrated_file: Path, tmp_path: Path) -> AsyncIterator[World]:
    """The API, its store empty."""
    path = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, path)
    bench = SqliteBench(path)
    await bench.begin()
    made = World(bench)
    yield made
    await made.close()
    await bench.close()


@pytest.fixture
async def stage(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    """The API, its store empty, and WeChat behind it."""
    path = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, path)
    bench = SqliteBench(path)
    await bench.begin()
    made = Stage(bench)
    yield made
    await made.close()
    await bench.close()
