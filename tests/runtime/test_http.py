"""Connections on which no request comes: they are ended, others are not."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from scripts.patience import PATIENCE
from services.runtime import http
from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.http import HttpServer

HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"])
@pytest.mark.parametrize("said", [b"", b"GET", HEAD])
async def test_a_head_that_is_never_whole_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch, before: bytes, said: bytes
) -> None:
    """The first one's, and one's after an answer."""
    monkeypatch.setattr(http, "IDLE", 1.0 if before else 0.05)
    server = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), CollectorRegistry())
    await server.start()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(before + said)
    async with asyncio.timeout(PATIENCE):
        answered = await reader.read()
    assert answered.count(b"200 OK") == bool(before)
    writer.close()
    await server.stop()
