"""A real host in the test's own loop, ways to break what it runs, and a proxy that can fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import msgspec

from scripts.patience import PATIENCE
from services.cli.processes import builder
from services.kafka.admin import create_topics
from services.runtime.host import Host, opened
from services.runtime.process import Parts
from services.runtime.settings import Settings
from services.store.open import migrate

STALLED = 5.0
"""Seconds; far below what production sets, so that the tests need not wait for it."""


def settings_for(kafka: str, database: str, prefix: str, **more: Any) -> Settings:
    """Everything that is waited for made small."""
    small = Settings(
        kafka=kafka,
        database=database,
        topic_prefix=prefix,
        wechat="http://127.0.0.1:9",
        apps='{"wx1": "secret"}',
        kafka_session=6.0,
        sweep=0.5,
        relay_lease=2.0,
        partitions=2,
        drain=5.0,
    )
    return msgspec.structs.replace(small, stalled_after=STALLED, **more)


class Running:
    """A host that serves, and what it says about itself over HTTP."""

    def __init__(self, host: Host, parts: Parts, client: httpx.AsyncClient) -> None:
        self.host, self.parts, self.client = host, parts, client

    @property
    def health(self) -> Any:
        """What looks at everything."""
        return self.service("health")

    def service(self, name: str) -> Any:
        """One of its services."""
        return next(each for each in self.host.services if each.name == name)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        answer = await self.client.get(f"http://{self.host.http.host}:{self.host.http.port}/{path}")
        return answer.status_code, answer.json()

    async def says(self, path: str, status: int, *words: str) -> dict[str, Any]:
        """Wait until it answers so, with these words somewhere."""
        async with asyncio.timeout(PATIENCE):
            while True:
                code, body = await self.get(path)
                if code == status and all(word in str(body) for word in words):
                    return body
                await asyncio.sleep(0.05)  # polling a condition, bounded above


@asynccontextmanager
async def running(kind: str, settings: Settings) -> AsyncIterator[Running]:
    """`livecard KIND` on a database with tables and a broker with topics, ready."""
    await migrate(settings.database)
    await create_topics(settings)
    async with opened(kind, settings) as (parts, always), httpx.AsyncClient(timeout=PATIENCE) as client:
        host = Host(parts, builder(kind)(parts), always, "127.0.0.1:0")
        await host.start()
        watching = asyncio.create_task(host.until(asyncio.Event()))
        try:
            run = Running(host, parts, client)
            await run.says("readyz", 200)
            yield run
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await host.stop()


class Wedge:
    """From now on `owner.name` does not return, until `heal`."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name, self._healed = owner, name, asyncio.Event()
        self._original: Callable[..., Awaitable[Any]] = getattr(owner, name)
        setattr(owner, name, self._hang)

    async def _hang(self, *arguments: Any, **options: Any) -> Any:
        await self._healed.wait()
        return await self._original(*arguments, **options)

    def heal(self) -> None:
        """It goes on where it was."""
        setattr(self._owner, self._name, self._original)
        self._healed.set()


class Proxy:
    """TCP to one port: passes, swallows everything that is sent, or is not there at all."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._passing = asyncio.Event()
        self.port = 0

    async def start(self) -> None:
        """Listen, at the same port each time."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._passing.set()

    def swallow(self) -> None:
        """Connections stay and new ones come about, but nothing is answered any more."""
        self._passing.clear()

    def pass_on(self) -> None:
        """What was swallowed goes its way."""
        self._passing.set()

    async def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(2):  # the turns that asyncio takes from accepting a connection to telling of it
            await asyncio.sleep(0)
        for writer, task in self._connections.items():
            writer.transport.abort()  # a task that is cancelled before its first step closes nothing
            task.cancel()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)
        self._connections.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(back)
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.pop(writer, None)
            for each in ends:
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
