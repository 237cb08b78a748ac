"""The simulated WeChat as a process of its own: no other one loads it."""

from __future__ import annotations

import asyncio
import random

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from services.cli.embedded_simulator import (
    SimulatorService,
    connect,
    informed,
    simulator_server,
    warn_about,
)
from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.host import DEFAULT_ADDRESS, stop_on_signals
from services.runtime.http import HealthAnswers, refused, split_address
from services.runtime.settings import Settings
from services.store.open import safe_url
from services.wechat.apps import AppBook

LOG = structlog.get_logger("livecard")


async def serve_simulator(settings: Settings) -> None:
    """Until SIGTERM."""
    stopping = asyncio.Event()
    stop_on_signals(stopping, asyncio.Event())
    clock = RealClock()
    host, port = split_address(settings.http or DEFAULT_ADDRESS["simulator"])
    apps = AppBook.load(settings) if settings.apps or settings.apps_file else None
    server = simulator_server(settings, host, port, apps)
    connect(server, settings)
    service = SimulatorService()
    health = Health(lambda: [service], clock, settings.stalled_after)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    server.health = HealthAnswers(health, registry)
    async with informed(settings, server):
        try:
            try:
                await server.start()
            except OSError as error:
                raise refused(host, port, error) from None
            LOG.info(
                "serving",
                address=server.url,
                services=["simulator"],
                store=safe_url(settings.database) if settings.database else None,
                seed=random.getrandbits(16),
            )
            warn_about(server, host, settings.simulator_faults)
            await stopping.wait()
        finally:
            await server.stop()
    LOG.info("drained")
