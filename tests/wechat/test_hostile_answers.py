"""Whatever stands in WeChat's place answers: a verdict comes of it, no token is told, none is redirected."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from contracts.wechat import CREATE_ACTIVITY_ID_PATH, SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, Verdict
from services.wechat.client import Created, WeChatClient
from tests.fuzz.answers import Lie, is_refusal, lie
from tests.wechat.conftest import MESSAGE
from tests.wechat.server import APPS

SEED = 20261121
ANSWERS = 1_000
TOKEN = "the-token-nobody-may-see"
HONEST = f'{{"access_token":"{TOKEN}","expires_in":7200}}'.encode()


class Liar:
    """A server on a real port: one path is lied to, the token path is honest else."""

    def __init__(self) -> None:
        self.lied = STABLE_TOKEN_PATH
        self.next: Lie | None = None
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
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
            path = head.split(b" ")[1].split(b"?")[0].decode()
            if path == self.lied and self.next is not None:
                if self.next.reset:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
                writer.write(self.next.wire)
            else:
                close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                writer.write(close % len(HONEST) + HONEST)
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


def descriptors() -> int:
    """What this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("lied", [STABLE_TOKEN_PATH, CREATE_ACTIVITY_ID_PATH, SET_CHAT_TOOL_MSG_PATH])
async def test_every_answer_gives_a_verdict_and_tells_no_token(
    lied: str, connect: Callable[..., WeChatClient]
) -> None:
    """A third of a thousand answers for each kind of call; each failure names its answer's number."""
    chance, liar, seen = random.Random(f"{SEED} {lied}"), Liar(), Counter[str]()
    before = descriptors()
    await liar.start()
    liar.lied = lied
    client = connect(liar.url, in_flight=2)
    try:
        for number in range(ANSWERS // 3):
            liar.next = lie(chance, liar.away)
            where = f"answer {number}: {liar.next.way}, HTTP {liar.next.status}, {liar.next.body[:60]!r}"
            if lied == CREATE_ACTIVITY_ID_PATH:
                created = await client.create_activity_id("wx1")
                assert created is None or isinstance(created, Created), where
                continue
            if lied == STABLE_TOKEN_PATH:
                await client.close()
                client = connect(liar.url, in_flight=2)
            answer = await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
            assert isinstance(answer.verdict, Verdict), where
            assert TOKEN not in repr(answer), where
            assert APPS["wx1"] not in repr(answer), where
            seen[answer.verdict] += 1
            if lied == SET_CHAT_TOOL_MSG_PATH:
                assert fits(liar.next, answer.verdict), f"{where}: {answer.verdict}"
        assert liar.elsewhere == []
        if lied == SET_CHAT_TOOL_MSG_PATH:
            assert {"ok", "unknown", "busy", "unknown_activity"} <= seen.keys()
    finally:
        await client.close()
        await liar.stop()
    assert descriptors() < before + ANSWERS // 20, "connections are left open"
