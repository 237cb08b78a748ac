"""The proxy of the chaos run does to connections what it says, and otherwise nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.verification.chaos.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything back, and `bye` at the end of what it hears."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()
    await server.wait_closed()


async def _connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await reader.readexactly(len(text))


async def test_it_passes_everything_on(proxy: Proxy) -> None:
    """Also a megabyte, and the end of what is said."""
    reader, writer = await _connect(proxy)
    whole = bytes(range(256)) * 4096
    assert await _said(reader, writer, whole) == whole
    writer.write_eof()
    assert await reader.read() == b"bye"
    writer.close()


async def test_cut_connections_are_reset_and_new_ones_go_through(proxy: Proxy) -> None:
    """Both sides hear of it at once."""
    reader, writer = await _connect(proxy)
    assert await _said(reader, writer, b"one") == b"one"
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.transport.abort()
    reader, writer = await _connect(proxy)
    assert await _said(reader, writer, b"two") == b"two"
    writer.close()


async def test_a_stall_holds_everything_back_and_loses_nothing(proxy: Proxy) -> None:
    """What was said meanwhile arrives after it."""
    reader, writer = await _connect(proxy)
    assert await _said(reader, writer, b"one") == b"one"
    stall = asyncio.create_task(proxy.stall(0.3))
    await asyncio.sleep(0)
    writer.write(b"two")
    answer = asyncio.create_task(reader.readexactly(3))
    done, _ = await asyncio.wait({stall, answer}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {stall}
    assert await answer == b"two"
    writer.close()


async def test_half_closed_the_server_hears_the_end_and_its_answer_is_lost(proxy: Proxy) -> None:
    """Until all is cut."""
    reader, writer = await _connect(proxy)
    assert await _said(reader, writer, b"one") == b"one"
    assert await proxy.half_close(0.2) == 1
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(3)
    writer.transport.abort()


async def test_nobody_behind_it_is_as_nobody_there() -> None:
    """A client is cut off at once, and not left waiting."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    await proxy.start()
    reader, writer = await _connect(proxy)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.transport.abort()
    await proxy.stop()
