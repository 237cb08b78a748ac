"""Servers on a real port that stand in WeChat's place and lie: alone, and in front of an honest one."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

import httpx

from contracts.wechat import Verdict
from scripts.patience import PATIENCE
from tests.verification.fuzz.answers import Lie, is_refusal, lie

TOKEN: Final = "the-token-nobody-may-see"
HONEST: Final = f'{{"access_token":"{TOKEN}","expires_in":7200}}'.encode()
_PLAIN: Final = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, str, bytes]:
    """Method and target, path, body. Raises `IncompleteReadError` when there is no more."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
    method, target, *_ = head.split(b" ")
    return method + b" " + target, target.split(b"?")[0].decode(), body


def reset_at_close(writer: asyncio.StreamWriter) -> None:
    """The connection ends by a reset."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)


class Liar:
    """`choose` picks the lie for a path and a body; for None it is honest, as one that only knows tokens."""

    def __init__(self, choose: Callable[[str, bytes], Lie | None]) -> None:
        self.choose = choose
        self.elsewhere: list[bytes] = []

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.trap = await asyncio.start_server(self._trap, "127.0.0.1", 0)
        self.url, self.away = (
            f"http://127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in (self.server, self.trap)
        )

    async def stop(self) -> None:
        for each in (self.server, self.trap):
            each.close()
            await each.wait_closed()

    async def _trap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.elsewhere.append(await reader.read(1_000))
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, path, body = await read_request(reader)
            told = self.choose(path, body)
            if told is not None and told.reset:
                reset_at_close(writer)
            writer.write(told.wire if told is not None else _PLAIN % len(HONEST) + HONEST)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def fits(told: Lie, verdict: Verdict | None) -> bool:
    """Success only from HTTP 200, a refusal only from an errcode or 429; all else is unknown."""
    if verdict is Verdict.ok:
        return told.status == 200 and told.way != "noise"
    return verdict is Verdict.unknown or told.status == 429 or is_refusal(told)


def descriptors(pid: int | str = "self") -> int:
    """What a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Between:
    """In front of an honest server: asks it, or does not, and tells whatever it likes.

    A success it only tells where there was one: no client could see through that. While `lying` every
    `1 / lies` request is lied to; `ways` counts how.
    """

    def __init__(self, honest: str, seed: int, lies: float = 0.8) -> None:
        self.honest, self.lies = honest, lies
        self.chance = random.Random(f"between {seed}")
        self.lying = True
        self.ways: Counter[str] = Counter()
        self.elsewhere = 0
        self.open = 0

    async def start(self) -> None:
        """Listen."""
        self._client = httpx.AsyncClient(base_url=self.honest, timeout=PATIENCE, trust_env=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """No more."""
        self._server.close()
        await self._client.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection serves another."""
        line, path, body = await read_request(reader)
        if path == "/elsewhere":
            self.elsewhere += 1
        if not self.lying or self.chance.random() > self.lies:
            writer.write(_kept(await self._ask(line, body)))
            await writer.drain()
            return True
        told = lie(self.chance, f"{self.url}/elsewhere")
        while b"47501" in told.body:  # "no such activity" is final: nothing comes after it
            told = lie(self.chance, f"{self.url}/elsewhere")
        way = self.chance.choice([told.way, told.way, "drip", "leftover", "silence"])
        self.ways[way] += 1
        if told.status == 200 or way == "leftover" or self.chance.random() < 0.5:
            truth = await self._ask(line, body)
            if way == "leftover":
                writer.write(_kept(truth) + _kept(b'{"errcode":0,"errmsg":"nobody asked"}'))
                await writer.drain()
                return True
            if told.status == 200 and not truth.startswith(b'{"errcode":0'):
                writer.write(_kept(truth))
                await writer.drain()
                return True
        if way == "silence":
            await reader.read(1)  # until the other side has had enough
            return False
        if told.reset:
            reset_at_close(writer)
        for start in range(0, len(told.wire), 16) if way == "drip" else (0,):
            writer.write(told.wire[start : start + 16] if way == "drip" else told.wire)
            await writer.drain()
            if way == "drip":
                await asyncio.sleep(0.02)  # the drip
        return False

    async def _ask(self, line: bytes, body: bytes) -> bytes:
        method, target = line.decode().split(" ")
        return (await self._client.request(method, target, content=body)).content


def _kept(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
