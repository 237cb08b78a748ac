"""What listens, listens on this machine alone unless told otherwise, and reads no more than it must."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.cli.embedded_simulator import is_loopback, simulator_server, warn_about
from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.host import DEFAULT_ADDRESS
from services.runtime.http import HealthAnswers, HttpServer, split_address
from services.runtime.settings import Settings

MEGABYTES = 1 << 20


def test_nothing_listens_beyond_this_machine_by_default() -> None:
    """Neither a service nor the simulator; nor does an address without a host."""
    addresses = [*DEFAULT_ADDRESS.values(), Settings().simulator_http, ":8080"]
    assert [each for each in addresses if not is_loopback(split_address(each)[0])] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "simulator.example.org"])
def test_a_simulator_that_others_can_reach_is_told(host: str) -> None:
    """It has no passwords: whoever reaches it can do everything with it."""
    server = simulator_server(Settings(), host, 0, None)
    with structlog.testing.capture_logs() as told:
        warn_about(server, "127.0.0.1", "")
        warn_about(server, "localhost", "")
        assert told == []
        warn_about(server, host, "")
    assert [each["host"] for each in told] == [host]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The simulator as `livecard simulator` serves it, with health and metrics."""
    server = simulator_server(Settings(), "127.0.0.1", 0, None)
    server.health = HealthAnswers(Health(list, RealClock(), 60.0), CollectorRegistry())
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """Health and metrics as every service has them."""
    http = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), CollectorRegistry())
    await http.start()
    yield http.url
    await http.stop()


@pytest.mark.parametrize("path", ["/control/faults", "/cgi-bin/message/wxopen/chattoolmsg/send"])
async def test_a_body_of_megabytes_is_refused(url: str, path: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}{path}", content=b" " * (2 * MEGABYTES))
    assert answer.status_code == 413


async def test_an_endless_line_or_header_is_refused(url: str, service: str) -> None:
    async with httpx.AsyncClient() as client:
        for where in (url, service):
            line = await client.get(f"{where}/metrics?{'x' * 20_000}")
            header = await client.get(f"{where}/metrics", headers={"x": "x" * 20_000})
            endless = await client.get(f"{where}/metrics", headers={"x": "x" * 2 * MEGABYTES})
            plain = await client.get(f"{where}/metrics")
            assert {each.status_code for each in (line, header, endless)} <= {400, 431}
            assert plain.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_health_and_metrics_are_read_only(url: str, service: str, path: str) -> None:
    async with httpx.AsyncClient() as client:
        for where in (url, service):
            assert (await client.post(f"{where}{path}", content=b"{}")).status_code == 405
