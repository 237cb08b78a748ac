"""Whatever stands in WeChat's place answers: a verdict comes of it, no token is told, none is redirected."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

import pytest

from contracts.wechat import (
    CODE2SESSION_PATH,
    CREATE_ACTIVITY_ID_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    STABLE_TOKEN_PATH,
    Verdict,
)
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer, Created, LoggedIn
from tests.verification.fuzz.answers import Lie, lie
from tests.verification.fuzz.liar import HONEST, TOKEN, Liar, descriptors, fits, read_request
from tests.wechat.server import APPS, MESSAGE

SEED = 20261121
ANSWERS = 1_000


@pytest.mark.parametrize(
    "lied", [STABLE_TOKEN_PATH, CREATE_ACTIVITY_ID_PATH, CODE2SESSION_PATH, SET_CHAT_TOOL_MSG_PATH]
)
async def test_every_answer_gives_a_verdict_and_tells_no_token(
    lied: str, connect: Callable[..., WeChatClient]
) -> None:
    """A third of a thousand answers for each kind of call; each failure names its answer's number."""
    chance, seen = random.Random(f"{SEED} {lied}"), Counter[str]()
    before = descriptors()
    told: Lie | None = None
    liar = Liar(lambda path, _: told if path == lied else None)
    await liar.start()
    client = connect(liar.url, in_flight=2)
    try:
        for number in range(ANSWERS // 3):
            told = lie(chance, liar.away)
            where = f"answer {number}: {told.way}, HTTP {told.status}, {told.body[:60]!r}"
            if lied == CREATE_ACTIVITY_ID_PATH:
                assert isinstance(await client.create_activity_id("wx1"), Created | Answer), where
                continue
            if lied == CODE2SESSION_PATH:
                assert isinstance(await client.code2session("wx1", "code"), LoggedIn | Answer), where
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
                assert fits(told, answer.verdict), f"{where}: {answer.verdict}"
        assert liar.elsewhere == []
        if lied == SET_CHAT_TOOL_MSG_PATH:
            assert {"ok", "unknown", "busy", "unknown_activity"} <= seen.keys()
    finally:
        await client.close()
        await liar.stop()
    assert descriptors() < before + ANSWERS // 20, "connections are left open"


async def test_what_a_server_sends_beyond_its_answer_answers_nobody(
    connect: Callable[..., WeChatClient],
) -> None:
    """A second answer on the same connection must not be taken for that of the next request."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, path, _ = await read_request(reader)
                asked.append(path)
                body = HONEST if path == STABLE_TOKEN_PATH else b'{"errcode":-1,"errmsg":"system error"}'
                more = b'{"errcode":0,"errmsg":"ok"}' if path == SET_CHAT_TOOL_MSG_PATH else HONEST
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(body) + body + head % len(more) + more)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", in_flight=1)
    for _ in range(5):
        answer = await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
        assert answer.errcode == -1
    assert asked == [STABLE_TOKEN_PATH, *[SET_CHAT_TOOL_MSG_PATH] * 5]
    await client.close()
    server.close()
