"""What `/healthz` and `/readyz` answer, and since when: everything is looked at all the time.

Readiness (take me out): a part that cannot do its work, a broker or a store that does not answer, a
loop that stands still. Liveness (kill me): only a loop that stands still by its own fault. While the
store is away every loop may wait for it, and a restart would heal nothing; so a loop's time counts
from the store's return, as it does from the end of a freeze of the whole process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from contracts.times import SECOND, format_rfc3339
from services.runtime.error_text import error_text
from services.runtime.ports import Clock
from services.runtime.process import Service

LOG = structlog.get_logger("livecard.health")

EVERY: Final = 2.0
"""Seconds between two checks of everything."""
READY_DEADLINE: Final = 3.0
"""Seconds in which a service must tell whether it is ready."""
FROZEN: Final = 15.0
"""Seconds between two checks after which the process was frozen, or its event loop blocked."""

LOOPS: Final = {
    "lifecycle.poll": "polls Kafka for events",
    "lifecycle.batch": "takes a batch of events in",
    "clock.timers": "fires timers",
    "dispatcher.loop": "claims cards",
    "dispatcher.gates": "opens and closes the gates of apps",
    "dispatcher.settler": "writes down what came of the calls",
    "dispatcher.work": "calls WeChat",
    "dispatcher.nudges": "polls Kafka for nudges",
    "gateway.keys": "reads the files of keys and apps again",
    "feed.changes": "reads the changes for the streams of the API",
    "relay.relay": "publishes changes from the outbox",
    "watcher.backlog": "reads the backlog for the metrics",
    "health.checks": "checks all the others",
}
"""What a loop does, for people."""


class Dependency:
    """Something outside that is asked again and again whether it answers.

    `ask` must be bounded by itself; what it raises is the reason.
    """

    def __init__(self, name: str, ask: Callable[[], Awaitable[None]], every: float, clock: Clock) -> None:
        self.name = name
        self._ask, self._every, self._clock = ask, every, clock
        self.away: str | None = "was not asked yet"
        self.last_away = clock.monotonic()
        self._asked = False

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                await self._ask()
            except Exception as error:  # noqa: BLE001 (whatever it is: no answer came)
                why = error_text(error)
                if self.away is None or not self._asked:
                    LOG.warning("a dependency is away", dependency=self.name, error=why)
                self.away, self.last_away = why, self._clock.monotonic()
            else:
                if self.away is not None and self._asked:
                    LOG.info("a dependency is back", dependency=self.name)
                self.away = None
            self._asked = True
            await asyncio.sleep(self._every)


class Watch(Protocol):
    """Asks for something again and again; `warnings` are what it found, in words."""

    @property
    def warnings(self) -> Sequence[str]:
        """What should be mended."""
        ...

    async def run(self) -> None:
        """Ask until cancelled."""
        ...


class Health:
    """Checks the services of the process and what they depend on. Serves like a service itself. `tell` hears
    from each check whether the process is ready."""

    name = "health"

    def __init__(
        self,
        services: Callable[[], Sequence[Service]],
        clock: Clock,
        stalled_after: float,
        *,
        store: Dependency | None = None,
        broker: Dependency | None = None,
        topics: Watch | None = None,
        tell: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._services, self._clock, self._stalled_after = services, clock, stalled_after
        self._store, self._broker, self._topics = store, broker, topics
        self._tell = tell
        self._counts_from = float("-inf")
        self._since: dict[str, int] = {}
        self._stopping = asyncio.Event()
        self._checked = clock.monotonic()

    async def run(self) -> None:
        """Check until `stop`."""
        asking = [
            asyncio.create_task(each.run()) for each in (self._store, self._broker, self._topics) if each
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                self.notice()
                await self.waiting()
                done, _ = await asyncio.wait(
                    [stopping, *asking], timeout=EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done - {stopping}:
                    task.result()
        finally:
            for task in (*asking, stopping):
                task.cancel()
            await asyncio.gather(*asking, stopping, return_exceptions=True)

    def stop(self) -> None:
        """Return soon."""
        self._stopping.set()

    def marks(self) -> Mapping[str, float]:
        """When it last checked."""
        return {"checks": self._checked}

    async def ready(self) -> str | None:
        """Always: `/readyz` names each part by itself."""
        return None

    def notice(self) -> None:
        """Time in which nobody could move does not count: the process was frozen, or blocked."""
        now = self._clock.monotonic()
        if now - self._checked > FROZEN:
            self._counts_from = now
        self._checked = now

    def ages(self) -> dict[str, float]:
        """Every loop's seconds since it last moved, without those that the store was away."""
        now = self._clock.monotonic()
        counts_from = self._counts_from
        if self._store is not None:
            counts_from = max(counts_from, now if self._store.away else self._store.last_away)
        return {
            f"{service.name}.{loop}": max(0.0, now - max(moved, counts_from))
            for service in self._services()
            for loop, moved in service.marks().items()
        }

    def stalled(self) -> dict[str, str]:
        """Loops that stand still by their own fault: what each does, and since when it does not."""
        wall = self._clock.wall()
        return {
            name: f"the loop that {LOOPS.get(name, 'serves')} has not moved for {age:.0f} s, "
            f"since {_moment(wall - round(age * SECOND))}: restart this process"
            for name, age in self.ages().items()
            if age > self._stalled_after
        }

    async def waiting(self) -> dict[str, str]:
        """Who cannot do its work, and what it waits for; remembers since when."""
        answers = await asyncio.gather(*(_ask(service) for service in self._services()))
        found = {name: why for name, why in answers if why is not None}
        for each in (self._store, self._broker):
            if each is not None and each.away:
                found[each.name] = each.away
        found |= self.stalled()
        now = self._clock.wall()
        self._since = {name: self._since.get(name, now) for name in found}
        self._tell(not found)
        return found

    def warnings(self) -> list[str]:
        """What keeps nobody from work but should be mended: settings of topics."""
        return [] if self._topics is None else list(self._topics.warnings)

    def since(self) -> dict[str, str]:
        """For those who wait: since when (RFC 3339), as far as anybody looked."""
        return {name: _moment(at) for name, at in self._since.items()}


async def _ask(service: Service) -> tuple[str, str | None]:
    try:
        async with asyncio.timeout(READY_DEADLINE):
            return service.name, await service.ready()
    except TimeoutError:
        return service.name, f"no answer within {READY_DEADLINE:g} s"


def _moment(at: int) -> str:
    return format_rfc3339(at // SECOND * SECOND)
