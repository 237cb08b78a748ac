"""A client of one app with a secret, against a server on a real port that does what a test says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog
import uvloop

from services.simulator.app import SimulatorServer
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.wechat.company import SECRET, Service
from tests.wechat.server import APPS, MESSAGE, Platform


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What looks into sockets runs on production's loop too."""
    loops = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ("test_left_over.py", "test_proxy.py", "test_transport.py"):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


class HandClock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return round(self.now * 1_000_000)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    running = Platform()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def connect(clock: HandClock) -> AsyncIterator[Callable[..., WeChatClient]]:
    """Make clients; they are closed at the end."""
    made: list[WeChatClient] = []

    def make(base: str, apps: AppBook | None = None, **more: Any) -> WeChatClient:
        made.append(WeChatClient(base, apps or AppBook(dict(APPS)), clock, **more))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def standin() -> AsyncIterator[SimulatorServer]:
    server = SimulatorServer(apps={"wx1": SECRET}, chance=random.Random(1), auto_declare=True)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """Log lines."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def client(platform: Platform, connect: Callable[..., WeChatClient]) -> WeChatClient:
    return connect(platform.url)


@pytest.fixture
def send(client: WeChatClient) -> Callable[..., Any]:
    """Send the message with nothing against it."""

    def go(deadline: float = 20.0, may_send: Callable[[], bool] = lambda: True, appid: str = "wx1") -> Any:
        return client.set_chat_tool_msg(appid, MESSAGE, deadline, may_send)

    return go
