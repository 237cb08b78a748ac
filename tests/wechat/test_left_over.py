"""What a server sends beyond its answer never becomes the next call's."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.wechat.transport import LARGEST_ANSWER, AiohttpTransport
from tests.security.authority import Authority


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


NOBODYS = whole(b"nobody's")


class Talkative:
    """Answers its first request with `body` and then `more`, and each later one with its number."""

    def __init__(self) -> None:
        self.body, self.more, self.requests = b"first", [b""], 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                first, *others = self.more
                writer.write(whole(self.body) + first if self.requests == 1 else whole(b"%d" % self.requests))
                for each in others if self.requests == 1 else ():
                    writer.write(each)  # over TLS a record of its own in the same segment
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture(params=["TLS", "plain"])
async def talking(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Talkative, AiohttpTransport]]:
    """A server and our transport to it."""
    secured, served = request.param == "TLS", None
    if secured:
        authority = Authority(tmp_path, "ours")
        pair = authority.sign("wechat")
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(pair.certificate, pair.key)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    talkative = Talkative()
    server = await asyncio.start_server(talkative.serve, "127.0.0.1", 0, ssl=served)
    transport = AiohttpTransport(
        f"http{'s' if secured else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    )
    yield talkative, transport
    await transport.close()
    server.close()
    await server.wait_closed()


async def ask(transport: AiohttpTransport) -> bytes:
    got = await transport.exchange("POST", "/", {}, b"")
    assert not got.why
    return got.body


@pytest.mark.parametrize("body", [b"first", b"x" * LARGEST_ANSWER], ids=["short", "as long as may be"])
@pytest.mark.parametrize(
    "more", [[NOBODYS], [b"", NOBODYS], [NOBODYS[:20]]], ids=["in one write", "in two", "a piece"]
)
async def test_an_answer_that_comes_with_ours_answers_nothing(
    talking: tuple[Talkative, AiohttpTransport], more: list[bytes], body: bytes
) -> None:
    talkative, transport = talking
    talkative.body, talkative.more = body, more
    assert [await ask(transport) for _ in range(3)] == [body, b"2", b"3"]


@pytest.mark.parametrize("more", [NOBODYS, NOBODYS * 2, b"\r\n", NOBODYS[:20]])
@pytest.mark.parametrize("turns", [0, 10], ids=["still in the socket", "already read"])
async def test_an_answer_that_comes_while_nobody_asks_answers_nothing(
    talking: tuple[Talkative, AiohttpTransport], turns: int, more: bytes
) -> None:
    """aiohttp would hand it to the next request; what has not been read yet is looked for in the socket."""
    talkative, transport = talking
    assert await ask(transport) == b"first"
    talkative.writers[0].write(more)
    for _ in range(turns):
        await asyncio.sleep(0)
    assert [await ask(transport) for _ in range(2)] == [b"2", b"3"]


async def test_a_connection_that_the_server_closed_is_not_sent_on(
    talking: tuple[Talkative, AiohttpTransport],
) -> None:
    """Also when its end is still in the socket: a call would have an unknown outcome."""
    talkative, transport = talking
    assert await ask(transport) == b"first"
    descriptor = talkative.writers[0].get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.shutdown(socket.SHUT_WR)
    assert [await ask(transport) for _ in range(2)] == [b"2", b"3"]
    assert len(talkative.writers) == 2


async def test_a_connection_is_used_again(talking: tuple[Talkative, AiohttpTransport]) -> None:
    """What TLS sends of its own, its session tickets, is nothing left over."""
    talkative, transport = talking
    assert [await ask(transport) for _ in range(3)] == [b"first", b"2", b"3"]
    assert len(talkative.writers) == 1
