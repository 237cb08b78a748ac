"""A TCP proxy that cuts, stalls and half-closes what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

_CHUNK = 1 << 16


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    silent: bool = False

    def abort(self) -> None:
        """Close both sides now."""
        for writer in (self.client, self.server):
            writer.transport.abort()

    def reset(self) -> None:
        """Both sides get a RST, as from a firewall that has forgotten the connection."""
        for writer in (self.client, self.server):
            plug = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()


@dataclass
class Proxy:
    """127.0.0.1:`port` leads to 127.0.0.1:`target`; port 0 takes a free one."""

    target: int
    port: int = 0
    through: int = 0
    _links: set[_Link] = field(default_factory=set)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen."""
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and cut everything."""
        if self._server is not None:
            self._server.close()
        self._open.set()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        cut = len(self._links)
        for link in list(self._links):
            link.reset()
        return cut

    async def stall(self, seconds: float) -> None:
        """Nothing moves for so long, and nobody is told; new connections are accepted and say nothing."""
        self._open.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._open.set()

    async def half_close(self, seconds: float) -> int:
        """The server hears that its clients have finished; what it still says is lost; then all is cut."""
        links = list(self._links)
        for link in links:
            link.silent = True
            with contextlib.suppress(OSError, RuntimeError):
                link.server.write_eof()
        await asyncio.sleep(seconds)
        for link in links:
            link.abort()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, client)
        except asyncio.CancelledError:
            client.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client.transport.abort()  # as if nobody listened
            return
        self.through += 1
        link = _Link(client, server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, reader, server), self._pump(link, there, client))
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await source.read(_CHUNK):
                await self._open.wait()
                if link.silent:
                    continue
                sink.write(data)
                await sink.drain()
            if not link.silent:
                sink.write_eof()
            return
        link.abort()
