"""Runs services in one process: opens the parts, serves until a signal, drains, closes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from contracts.topics import Topics
from services.bus.kafka import KafkaBus
from services.ports import new_name
from services.runtime.http import HealthServer
from services.runtime.parts import Parts, Service
from services.runtime.real import RealClock
from services.runtime.relay import Relay
from services.runtime.watch import Watcher
from services.settings import Settings, database_url
from services.store.open import open_store
from services.telemetry import Metrics

LOG = structlog.get_logger("livecard")
T = TypeVar("T")

DEFAULT_ADDRESS = {
    "gateway": "127.0.0.1:8080",
    "up": "127.0.0.1:8080",
    "demo": "127.0.0.1:8080",
    "lifecycle": "127.0.0.1:8081",
    "clock": "127.0.0.1:8082",
    "dispatcher": "127.0.0.1:8083",
    "simulator": "127.0.0.1:8084",
}
"""Where each process serves health and metrics unless LIVECARD_HTTP says otherwise (design.md §7)."""

Builder = Callable[[Parts], Sequence[Service]]


@asynccontextmanager
async def opened(kind: str, settings: Settings) -> AsyncIterator[tuple[Parts, list[Service]]]:
    """The parts of one process and what every process runs beside its services: relay and watcher."""
    clock, chance = RealClock(), random.Random()
    name = new_name(chance, kind)
    metrics = Metrics()
    store = await open_store(
        database_url(settings),
        slot=chance.getrandbits(6),
        repair_after=settings.us("repair_after"),
        pool=settings.database_pool,
    )
    bus = KafkaBus(settings, metrics=metrics)
    relay = Relay(
        store=store,
        bus=bus,
        clock=clock,
        chance=chance,
        settings=settings,
        topics=Topics(settings.topic_prefix),
        owner=name,
        metrics=metrics,
    )
    parts = Parts(name, settings, clock, chance, store, bus, relay, metrics)
    try:
        await bus.start()
        yield parts, [relay, Watcher(store, clock, metrics)]
    finally:
        await bus.stop()
        await store.close()


class Host:
    """The services of one process, their health, and their orderly end."""

    def __init__(self, parts: Parts, services: Sequence[Service], address: str) -> None:
        self.services = list(services)
        self._drain = parts.settings.drain
        self.http = HealthServer(
            address,
            lambda: self.services,
            parts.metrics.registry,
            parts.clock,
            parts.settings.stalled_after,
        )
        self._tasks: dict[asyncio.Task[None], Service] = {}

    async def start(self) -> None:
        """Listen first, so that a port in use is told before anything else happens."""
        await self.http.start()
        for service in self.services:
            self._tasks[asyncio.create_task(service.run(), name=service.name)] = service

    async def until(self, stopping: asyncio.Event) -> None:
        """Serve until asked to stop; raises what a service died of, should one die."""
        waiter = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([waiter, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiter}:
                task.result()
                raise RuntimeError(f"{task.get_name()} ended by itself")
        finally:
            waiter.cancel()

    async def ready(self) -> None:
        """Return once every service can do its work."""
        while True:
            if not any([await service.ready() for service in self.services]):
                return
            await asyncio.sleep(0.1)

    async def beside(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work` while the services serve; raises what a service dies of meanwhile."""
        task, watch = asyncio.ensure_future(work), asyncio.create_task(self.until(asyncio.Event()))
        try:
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                await watch
            return await task
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def stop(self) -> None:
        """Drain: services first, then the relay and what else every process runs."""
        helpers = {"relay", "watcher"}
        for late in (False, True):
            group = [task for task, each in self._tasks.items() if (each.name in helpers) is late]
            for task in group:
                self._tasks[task].stop()
            if group:
                _, hanging = await asyncio.wait(group, timeout=self._drain)
                for task in hanging:
                    LOG.warning("did not finish in time and is cut off", service=task.get_name())
                    task.cancel()
                await asyncio.gather(*group, return_exceptions=True)
        await self.http.stop()


def stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM and SIGINT drain; a second one of them ends at once."""
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        LOG.info("draining", signal=number.name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, asked, number)


def spare_the_collector() -> None:
    """A batch makes tens of thousands of objects that live for moments and form no cycles: walking
    them again and again costs a tenth of the ingest. What was imported is not walked any more."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def serve(kind: str, settings: Settings, builders: Sequence[Builder]) -> None:
    """One process of `livecard <kind>`, from start to drained end."""
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    spare_the_collector()
    address = settings.http or DEFAULT_ADDRESS[kind]
    async with opened(kind, settings) as (parts, always):
        structlog.contextvars.bind_contextvars(process=parts.name)
        services = [service for build in builders for service in build(parts)]
        host = Host(parts, [*services, *always], address)
        await host.start()
        LOG.info(
            "serving",
            address=f"http://{host.http.host}:{host.http.port}",
            services=[s.name for s in services],
        )
        try:
            await host.until(stopping)
        finally:
            await host.stop()
    LOG.info("drained")
