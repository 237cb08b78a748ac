"""A request leaves once and goes nowhere else; it was not sent only where no connection came about."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from services.runtime.tls import TlsError
from services.wechat import transport
from services.wechat.transport import AiohttpTransport, Exchange, Peer
from tests.security.authority import Authority
from tests.verification.fuzz.liar import reset_at_close

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Start a server that does this with each connection; gives its address without the scheme."""
    servers: list[asyncio.Server] = []

    async def start(serve: Serve, tls: ssl.SSLContext | None = None) -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


async def once(base: str) -> Exchange:
    """One exchange of a new transport's."""
    way = AiohttpTransport(base)
    try:
        return await way.exchange("POST", "/", {"access_token": "canary"}, b"{}")
    finally:
        await way.close()


async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        got = await once(f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert got == Exchange(unsent=True, why="ConnectionRefusedError")


async def test_with_no_such_name_it_was_not_sent() -> None:
    got = await once("http://wechat.invalid")
    assert (got.unsent, got.status) == (True, 0)


async def test_a_connection_that_is_not_made_in_time_was_not_sent(listen, monkeypatch) -> None:
    """Who accepts but never speaks TLS."""
    monkeypatch.setattr(transport, "CONNECT", 0.05)
    got = await once("https://" + await listen(silent))
    assert got == Exchange(unsent=True, why="TimeoutError")


async def test_without_a_tls_handshake_it_was_not_sent(listen, tmp_path: Path) -> None:
    """A server that cuts it, and one whose certificate nobody trusts."""
    got = await once("https://" + await listen(cut))
    assert (got.unsent, got.status) == (True, 0)
    pair = Authority(tmp_path, "nobody's").sign("wechat")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    got = await once("https://" + await listen(silent, served))
    assert got.unsent
    assert got.why.startswith("WeChat's certificate is not accepted: ")
    assert got.why.endswith("(LIVECARD_WECHAT_CA names the authorities that are)")


async def test_a_companys_own_authority_counts_and_is_read_again_when_it_changes(
    listen, tmp_path: Path
) -> None:
    """Another one signs from today on; a file that is spoilt meanwhile leaves what was known."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    async def gateway(authority: Authority, name: str) -> str:
        pair = authority.sign(name)
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(pair.certificate, pair.key)
        return f"https://{await listen(serve, served)}"

    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = tmp_path / "gateway.pem"
    file.write_bytes(old.file.read_bytes())
    client = AiohttpTransport(await gateway(old, "first"), Peer(authorities=str(file)))
    assert await client.exchange("GET", "/", {}, None) == Exchange(200, b"{}")
    file.write_bytes(b"spoilt")
    assert await client.exchange("GET", "/", {}, None) == Exchange(200, b"{}")
    client._base = await gateway(new, "second")
    assert (await client.exchange("GET", "/", {}, None)).unsent
    file.write_bytes(new.file.read_bytes())
    assert await client.exchange("GET", "/", {}, None) == Exchange(200, b"{}")
    await client.close()


def test_authorities_that_cannot_be_used_are_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "gateway.pem"
    with pytest.raises(TlsError, match="LIVECARD_WECHAT_CA: cannot read"):
        AiohttpTransport("https://gateway", Peer(authorities=str(file)))
    file.write_text("no certificate")
    with pytest.raises(TlsError, match=r"LIVECARD_WECHAT_CA: .* holds no certificate in PEM form"):
        AiohttpTransport("https://gateway", Peer(authorities=str(file)))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("way", ["closes", "resets"])
async def test_a_connection_that_breaks_after_the_send_may_have_been_and_is_not_sent_again(
    listen, method: str, way: str
) -> None:
    """aiohttp repeats a GET on a kept connection by itself."""
    requests: list[bytes] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if way == "resets":
            reset_at_close(writer)
        writer.close()

    client = AiohttpTransport("http://" + await listen(answer_once))
    first = await client.exchange(method, "/", {}, None)
    second = await client.exchange(method, "/", {}, None)
    await client.close()
    assert first == Exchange(200, b"{}")
    assert (second.status, second.unsent, second.withheld) == (0, False, False)
    assert second.why in ("ServerDisconnectedError", "ClientOSError")
    assert len(requests) == 2


async def test_neither_redirects_nor_proxies_nor_cookies_are_followed(listen, monkeypatch) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        answer = b"HTTP/1.1 307 Elsewhere\r\ncontent-length: 0\r\nlocation: /b\r\nset-cookie: a=b\r\n\r\n"
        writer.write(answer)
        writer.close()

    port = (await listen(serve)).split(":")[1]
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = AiohttpTransport(f"http://localhost:{port}")  # aiohttp's jar takes no cookies of addresses
    query = {"access_token": "a+b/c=&d"}
    got = [await client.exchange("GET", "/a", query, None) for _ in range(2)]
    await client.close()
    assert got == [Exchange(307, why="HTTP 307")] * 2
    assert len(heads) == 2
    assert heads[0] == heads[1]
    assert heads[0].startswith(b"GET /a?access_token=a%2Bb/c%3D%26d HTTP/1.1\r\n")
    assert b"cookie" not in heads[0].lower()


async def test_a_new_connection_may_be_spoken_to_first(listen) -> None:
    """It is not looked at for bytes left over, or one after the other would be made and closed."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with asyncio.timeout(10):
        assert await once("http://" + await listen(serve)) == Exchange(200, b"{}")
    assert connections == 1
