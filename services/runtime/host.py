"""Runs services in one process: opens the parts, serves until a signal, drains, closes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from contracts.topics import Topics
from services.kafka.admin import broker_answers
from services.kafka.bus import BrokerError, KafkaBus
from services.kafka.topic_settings import TopicWatch
from services.runtime.backlog import Watcher
from services.runtime.clock import RealClock
from services.runtime.error_text import Explained
from services.runtime.health import Dependency, Health
from services.runtime.http import HttpServer
from services.runtime.memory import give_back_what_is_large, spare_the_collector
from services.runtime.metrics import Metrics
from services.runtime.ports import new_name
from services.runtime.process import HasApi, Parts, Service, delivery_rules
from services.runtime.relay import Relay
from services.runtime.settings import Settings, database_url
from services.runtime.watchdog import Watchdog
from services.store.measured import Measure
from services.store.open import open_store, safe_url
from services.store.ports import StoreUnavailable, answers
from services.tracing.opening import open_traces

LOG = structlog.get_logger("livecard")
T = TypeVar("T")

DEFAULT_ADDRESS = {
    "up": "127.0.0.1:8080",
    "demo": "127.0.0.1:8080",
    "gateway": "127.0.0.1:8080",
    "lifecycle": "127.0.0.1:8081",
    "clock": "127.0.0.1:8082",
    "dispatcher": "127.0.0.1:8083",
    "simulator": "127.0.0.1:8084",
}
"""Where each process serves health and metrics unless LIVECARD_HTTP says otherwise (design.md §7)."""

STORE_DEADLINE: Final = 3.0
"""Seconds the store has to answer when it is only asked whether it does."""
STORE_EVERY: Final = 2.0
BROKER_EVERY: Final = 5.0
"""Seconds between these questions."""
AWAY_DRAIN: Final = 5.0
"""Seconds that a drain waits while the store is away, so that nothing could be committed."""
HELPERS_DRAIN: Final = 3.0
"""Seconds that relay and watcher get at the end, at least."""
CUT_OFF: Final = 3.0
"""Seconds for who is cut off to let go of its connections."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What asks a process to leave."""

Builder = Callable[[Parts], Sequence[Service]]


class ServiceDied(Explained):
    """A service ended that should not have; the text says which and of what. Start the process again."""


@dataclass(frozen=True, slots=True)
class Always:
    """What every process runs beside its services, and what it asks about them."""

    services: list[Service]
    store: Dependency
    broker: Dependency
    topics: TopicWatch


@asynccontextmanager
async def opened(kind: str, settings: Settings) -> AsyncIterator[tuple[Parts, Always]]:
    """The parts of one process and what every process has beside its services."""
    clock, chance = RealClock(), random.Random()
    name = new_name(chance, kind)
    metrics = Metrics()
    traces = open_traces(kind, name, settings, clock)
    store = await open_store(
        database_url(settings),
        slot=chance.getrandbits(6),
        rules=delivery_rules(settings),
        pool=settings.database_pool,
        measure=Measure(clock, metrics),
    )
    # A connection of its own: where all others hang or are taken, it still tells whether the store answers.
    asked = await open_store(database_url(settings), pool=1)
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
    parts = Parts(name, settings, clock, chance, store, bus, relay, metrics, traces)
    try:
        await bus.start()
        yield (
            parts,
            Always(
                [relay, Watcher(store, clock, metrics)],
                Dependency("store", lambda: answers(asked, STORE_DEADLINE), STORE_EVERY, clock),
                Dependency("kafka", lambda: broker_answers(settings), BROKER_EVERY, clock),
                TopicWatch(settings),
            ),
        )
    finally:
        await bus.stop()
        await store.close()
        await asked.close()
        if traces is not None:
            traces.close()


class Host:
    """The services of one process, their health, and their orderly end."""

    def __init__(self, parts: Parts, services: Sequence[Service], always: Always, address: str) -> None:
        self._drain = parts.settings.drain
        self._store = always.store
        health = Health(
            lambda: self.services,
            parts.clock,
            parts.settings.stalled_after,
            store=always.store,
            broker=always.broker,
            topics=always.topics,
            tell=parts.metrics.ready,
        )
        self.services = [*services, *always.services, health]
        apis = [each.asgi for each in services if isinstance(each, HasApi)]
        self.http = HttpServer(address, health, parts.metrics.registry, *apis)
        self._tasks: dict[asyncio.Task[None], Service] = {}

    async def start(self) -> None:
        """Listen first, so that a port in use ends the start before anything else happens."""
        await self.http.start()
        for service in self.services:
            self._tasks[asyncio.create_task(service.run(), name=service.name)] = service

    async def until(self, stopping: asyncio.Event) -> None:
        """Serve until asked to stop; raises `ServiceDied` should one of the services die."""
        waiter = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([waiter, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiter}:
                _raise_failure(task)
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

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Drain: services first, then the relay and what else every process runs; `hurry` ends the waiting.

        While the store is away little can be finished, and less is waited for.
        """
        helpers = {"relay", "watcher", "health"}
        ends = asyncio.get_running_loop().time() + (
            min(self._drain, AWAY_DRAIN) if self._store.away else self._drain
        )
        for late in (False, True):
            group = [task for task, each in self._tasks.items() if (each.name in helpers) is late]
            for task in group:
                self._tasks[task].stop()
            left = ends - asyncio.get_running_loop().time()
            await _finish(group, max(HELPERS_DRAIN, left) if late else left, hurry or asyncio.Event())
        await self.http.stop()


async def _finish(tasks: Sequence[asyncio.Task[None]], patience: float, hurry: asyncio.Event) -> None:
    """Wait for them; who takes too long is cut off."""
    draining = [task for task in tasks if not task.done()]
    hurried = asyncio.create_task(hurry.wait())
    ends = asyncio.get_running_loop().time() + patience
    try:
        while hanging := [task for task in draining if not task.done()]:
            left = ends - asyncio.get_running_loop().time()
            if hurry.is_set() or left <= 0:
                break
            await asyncio.wait([hurried, *hanging], timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hurried.cancel()
    for task in hanging:
        LOG.warning("did not finish in time and is cut off", service=task.get_name())
        task.cancel()
    if hanging:
        await asyncio.wait(hanging, timeout=CUT_OFF)
    for task in draining:
        if task.done() and not task.cancelled() and (error := task.exception()):
            LOG.error("a service failed while draining", service=task.get_name(), exc_info=error)


def _raise_failure(task: asyncio.Task[Any]) -> None:
    """Raise the error that ended a task; one that only settings can mend keeps its own text."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, BrokerError | StoreUnavailable):
        raise error
    LOG.critical("a service died and the process ends with it", service=task.get_name(), exc_info=error)
    why = "it ended by itself" if error is None else f"{type(error).__name__}: {error}"
    raise ServiceDied(f"{task.get_name()} died: {why}") from error


def stop_on_signals(stopping: asyncio.Event, hurry: asyncio.Event) -> None:
    """SIGTERM and SIGINT drain; a second one cuts off what is still in hand, a third ends at once.

    The handlers outlive the loop (its own would give way to the default, which kills), so that who is
    asked again in the very moment of leaving still leaves in order.
    """
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if hurry.is_set():
            raise KeyboardInterrupt
        if stopping.is_set():
            LOG.warning("asked again: what is in hand is cut off", signal=number.name)
            hurry.set()
            return
        LOG.info("draining", signal=number.name)
        stopping.set()

    def heard(number: int, _: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is in hand any more
            loop.call_soon_threadsafe(asked, signal.Signals(number))

    for number in SIGNALS:
        signal.signal(number, heard)


async def serve(
    kind: str,
    settings: Settings,
    builders: Sequence[Builder],
    serving: Callable[[str], None] = lambda _url: None,
) -> None:
    """One process of `livecard <kind>`, from start to drained end.

    `serving` gets the URL once the process listens.
    """
    stopping, hurry = asyncio.Event(), asyncio.Event()
    stop_on_signals(stopping, hurry)
    spare_the_collector()
    give_back_what_is_large()
    address = settings.http or DEFAULT_ADDRESS[kind]
    async with opened(kind, settings) as (parts, always):
        structlog.contextvars.bind_contextvars(process=parts.name)
        services = [service for build in builders for service in build(parts)]
        host = Host(parts, services, always, address)
        await host.start()
        watchdog = Watchdog(settings.stalled_after)
        watchdog.start()
        LOG.info(
            "serving",
            address=host.http.url,
            services=[service.name for service in services],
            store=safe_url(database_url(settings)),
            broker=settings.kafka,
        )
        serving(host.http.url)
        try:
            await host.until(stopping)
        finally:
            await host.stop(hurry)
            watchdog.stop()
    LOG.info("drained")
