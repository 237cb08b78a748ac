"""What a server sends beyond its answer never becomes the next call's."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from services.wechat.transport import Connections
from tests.security.authority import Authority


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class TwoAtOnce:
    """Answers its first request twice, at first with `body`, and each later one with its number."""

    def __init__(self, body: bytes, *, apart: bool) -> None:
        self.body, self.apart, self.requests = body, apart, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                if self.requests > 1:
                    writer.write(whole(b"%d" % self.requests))
                elif self.apart:  # over TLS: two records in one segment
                    writer.write(whole(self.body))
                    writer.write(whole(b"nobody's"))
                else:
                    writer.write(whole(self.body) + whole(b"nobody's"))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


ONE_READ = 65_536
"""Bytes that httpcore reads at once; anyio keeps what came with them."""
LONG = b"x" * (ONE_READ - len(whole(b"x" * 65_000)) + 65_000)


@pytest.mark.parametrize("body", [b"first", LONG], ids=["short", "as long as one read"])
@pytest.mark.parametrize("apart", [True, False], ids=["in two writes", "in one"])
@pytest.mark.parametrize("secured", [True, False], ids=["TLS", "plain"])
async def test_an_answer_that_nobody_asked_for_answers_nothing(
    tmp_path: Path, *, secured: bool, apart: bool, body: bytes
) -> None:
    authority = Authority(tmp_path, "ours")
    pair = authority.sign("wechat")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    trust = ssl.create_default_context(cafile=str(authority.file))
    two = TwoAtOnce(body, apart=apart)
    server = await asyncio.start_server(two.serve, "127.0.0.1", 0, ssl=served if secured else None)
    base = f"http{'s' if secured else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60)
    connections = Connections(base, 1, lambda: httpx.AsyncHTTPTransport(verify=trust, limits=limits))
    try:
        answers = [(await connections.exchange("GET", "/", {}, None)).body for _ in range(3)]
    finally:
        await connections.close()
        server.close()
        await server.wait_closed()
    assert len(whole(LONG)) == ONE_READ
    assert answers == [body, b"2", b"3"]
