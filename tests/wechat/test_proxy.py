"""A company's proxy: a real one that makes tunnels, asks for a password, and fails in every way."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.secret_file import SecretFileError
from services.wechat.proxy import Proxy
from services.wechat.transport import AiohttpTransport, Exchange, Peer
from tests.security.authority import Authority


class Tunnels:
    """A proxy. `status` is what CONNECT is answered; `user` is who may come in."""

    def __init__(self) -> None:
        self.status, self.user = 200, ""
        self.heads: list[str] = []
        self.cut = False
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        word = base64.b64encode(self.user.encode()).decode()
        status = self.status if not self.user or f"Basic {word}" in head else 407
        if self.cut:
            writer.transport.abort()
            return
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode())
            writer.close()
            return
        method, target = head.split()[:2]
        if method != "CONNECT":
            target = target.removeprefix("http://").split("/")[0]
        host, port = target.split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(head.encode())
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, RuntimeError):
        pass
    finally:
        writer.close()


class WeChat:
    """A server that answers {} and keeps what it was asked; `before_answer` may close instead."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.base = ""
        self.cut = False
        self._server: asyncio.Server | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.base = f"http{'s' if tls else ''}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            if self.cut:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Tunnels]:
    running = Tunnels()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "corporate")


@pytest.fixture
async def wechat(tmp_path: Path, authority: Authority) -> AsyncIterator[WeChat]:
    """Behind TLS, as a company's own authority signs it: what a proxy that looks inside shows."""
    pair = authority.sign("wechat")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    running = WeChat()
    await running.start(served)
    yield running
    await running.stop()


async def exchange(way: AiohttpTransport, times: int = 1) -> list[Exchange]:
    query = {"access_token": "canary"}
    return [await way.exchange("POST", "/a", query, b"{}") for _ in range(times)]


async def test_calls_go_through_the_tunnel_and_keep_it(
    proxy: Tunnels, wechat: WeChat, authority: Authority
) -> None:
    """The proxy sees a host and a port, no token; a company's CA bundle counts inside."""
    way = AiohttpTransport(
        wechat.base, Peer(authorities=str(authority.file)), Proxy(f"http://{proxy.address}")
    )
    assert await exchange(way, 3) == [Exchange(200, b"{}")] * 3
    await way.close()
    assert len(wechat.heads) == 3
    assert len(proxy.heads) == 1
    assert proxy.heads[0].startswith(f"CONNECT {wechat.base.removeprefix('https://')} HTTP/1.1")
    assert "canary" not in proxy.heads[0]


async def test_without_the_companys_authority_nothing_is_sent(proxy: Tunnels, wechat: WeChat) -> None:
    way = AiohttpTransport(wechat.base, Peer(), Proxy(f"http://{proxy.address}"))
    (got,) = await exchange(way)
    await way.close()
    assert got.unsent
    assert got.why.startswith("WeChat's certificate is not accepted: ")
    assert wechat.heads == []


async def test_a_password_is_shown_to_the_proxy_alone_and_read_again_when_its_file_changes(
    proxy: Tunnels, wechat: WeChat, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("old:p@ss\n")
    proxy.user = "me:old:p@ss"
    way = AiohttpTransport(
        wechat.base,
        Peer(authorities=str(authority.file)),
        Proxy(f"http://me@{proxy.address}", str(file)),
    )
    assert await exchange(way, 2) == [Exchange(200, b"{}")] * 2
    assert len(proxy.heads) == 1
    proxy.user = "me:new"
    file.write_text("new\n")
    assert await exchange(way) == [Exchange(200, b"{}")]
    assert "proxy-authorization" not in "".join(wechat.heads).lower()
    proxy.user = "me:other"
    file.write_text("newer\n")
    (got,) = await exchange(way)
    await way.close()
    assert got == Exchange(
        unsent=True, why="the proxy refuses us (HTTP 407): LIVECARD_WECHAT_PROXY says who we are"
    )


async def test_a_password_in_the_setting_is_unescaped(
    proxy: Tunnels, wechat: WeChat, authority: Authority
) -> None:
    proxy.user = "m e:p@ss"
    peer = Peer(authorities=str(authority.file))
    way = AiohttpTransport(wechat.base, peer, Proxy(f"http://m%20e:p%40ss@{proxy.address}"))
    assert await exchange(way) == [Exchange(200, b"{}")]
    assert "p@ss" not in repr(way._proxy)
    await way.close()


@pytest.mark.parametrize("status", [403, 502, 503, 504])
async def test_a_tunnel_that_is_refused_was_not_sent(proxy: Tunnels, wechat: WeChat, status: int) -> None:
    proxy.status = status
    way = AiohttpTransport(wechat.base, Peer(), Proxy(f"http://{proxy.address}"))
    assert await exchange(way) == [
        Exchange(unsent=True, why=f"the proxy makes no connection (HTTP {status})")
    ]
    await way.close()


async def test_a_proxy_that_is_not_there_was_not_sent(proxy: Tunnels, wechat: WeChat) -> None:
    await proxy.stop()
    way = AiohttpTransport(wechat.base, Peer(), Proxy(f"http://{proxy.address}"))
    (got,) = await exchange(way)
    await way.close()
    assert got.unsent
    assert got.why.startswith("the proxy cannot be reached (ConnectionRefusedError): LIVECARD_WECHAT_PROXY")


async def test_what_breaks_inside_the_tunnel_is_unknown(
    proxy: Tunnels, wechat: WeChat, authority: Authority
) -> None:
    wechat.cut = True
    peer = Peer(authorities=str(authority.file))
    way = AiohttpTransport(wechat.base, peer, Proxy(f"http://{proxy.address}"))
    (got,) = await exchange(way)
    await way.close()
    assert (got.status, got.unsent) == (0, False)
    assert len(wechat.heads) == 1


async def test_a_proxy_before_a_server_without_tls_is_asked_for_the_whole_address(proxy: Tunnels) -> None:
    """For the simulator; its 502 may come after the request was applied, so it is no refusal."""
    plain = WeChat()
    await plain.start()
    proxy.user = "me:p"
    way = AiohttpTransport(plain.base, Peer(), Proxy(f"http://me:p@{proxy.address}"))
    assert await exchange(way) == [Exchange(200, b"{}")]
    proxy.status = 502
    await way.close()
    (got,) = await exchange(way)
    assert (got.status, got.unsent) == (502, False)
    await way.close()
    await plain.stop()


def test_a_password_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match=r"LIVECARD_WECHAT_PROXY_PASSWORD_FILE: cannot read"):
        Proxy("http://me@proxy:3128", str(tmp_path / "none"))
