"""The peer of `gateway`: bare Litestar routes with the very statements of the store, without our code.

No keys, no paths by segments, no limits, no check of the data, no views of an activity, no metrics of
requests. The process around them is that of a gateway: the pool, the relay, health. Run by `gateway`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import uvloop
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State

from contracts.times import parse_rfc3339
from services.runtime.environment import load
from services.runtime.host import serve
from services.runtime.process import Parts, Service
from services.store.rows import EVENTS, Announced, OutboxRow, Writes, shard_of

JSON = "application/json"


@get("/v1/activities/{activity_id:str}")
async def read(state: State, activity_id: str) -> Response[bytes]:
    """The rows as they come."""
    store = state.parts.store
    async with store._reading(alone=False) as run:  # noqa: SLF001 (its pool and its statements, nothing else of it)
        found = await run("show_activity", id=activity_id)
        rows: list[Any] = [tuple(row) for row in found]
        for name in ("show_members", "show_skipped", "show_parked"):
            rows += [tuple(row) for row in await run(name, id=activity_id)]
        rows += [tuple(row) for row in await run("gates", ids=store.dialect.many(["wxbench"]))]
        rows += [tuple(row) for row in await run("show_attempts", id=activity_id, limit=20)]
        rows += [tuple(row) for row in await run("now")]
    return Response(msgspec.json.encode(rows, enc_hook=str), media_type=JSON)


@post("/v1/activities")
async def create(state: State, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keep the activity, and its event in the outbox."""
    parts: Parts = state.parts
    data = msgspec.json.decode(await request.body())
    name, expires_at = data.pop("activity_id"), parse_rfc3339(data["expires_at"])
    event_id = f"{parts.chance.getrandbits(128):032x}"
    async with parts.store.transaction() as tx:
        await tx.lock([name])
        now = await tx.now()
        event = {"specversion": "1.0", "id": event_id, "source": "/bare", "subject": name, "data": data}
        body = msgspec.json.encode(event).decode()
        row = OutboxRow(name, EVENTS, event_id, body, shard_of(name), now)
        announced = Announced(name, data["appid"], data["title"], expires_at)
        await tx.write(Writes(announced=[announced], outbox=[row]))
    parts.relay.kick()
    return Response(msgspec.json.encode({"activity_id": name}), status_code=201, media_type=JSON)


class Bare:
    """The routes as a service of the process."""

    name = "bare"

    def __init__(self, parts: Parts) -> None:
        state = State({"parts": parts}, deep_copy=False)
        self.asgi = Litestar([read, create], state=state, openapi_config=None, logging_config=None)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`."""
        await self._stopping.wait()

    def stop(self) -> None:
        """Return."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """No loop."""
        return {}

    async def ready(self) -> str | None:
        """Always."""
        return None


def build(parts: Parts) -> list[Service]:
    """The services of the process."""
    return [Bare(parts)]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve("gateway", load(), [build]))
