"""The processes: the services' own classes, put together as their `app.py` does, on the world's ports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contracts.records import Record
from contracts.times import SECOND
from services.clock.clock import TimerClock
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.metrics import NoMetrics
from services.lifecycle.ingest import Ingest
from services.runtime.ports import new_name
from services.runtime.process import delivery_rules, state_rules
from services.runtime.relay import Relay
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.verification.sim.bus import Refused, SimBus
from tests.verification.sim.loop import Process
from tests.verification.sim.sqlite_connections import TimedConnection
from tests.verification.sim.store import BATCH, FrontStore
from tests.verification.sim.wechat import SimTransport, Watched

if TYPE_CHECKING:
    from tests.verification.sim.judges import Commit
    from tests.verification.sim.world import World

SECRETS = {"wx1": "secret-one", "wx2": "secret-two"}


class ProcessClock:
    """A process's own idea of time: its wall clock is wrong, its monotonic one begins anywhere."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._skew = round(chance.uniform(-120, 120) * SECOND)
        self._origin = chance.uniform(0, 1e6)

    def monotonic(self) -> float:
        return self._origin + self._world.loop._now

    def wall(self) -> int:
        return self._world.wall() + self._skew


class AppsFile:
    """What stands in for the file: `AppBook` asks for its signature and reads it (see `prepare`)."""

    def __init__(self) -> None:
        self.secrets, self.version = dict(SECRETS), 0

    def write(self, secrets: dict[str, str]) -> None:
        """Somebody changed it."""
        self.secrets, self.version = secrets, self.version + 1


class Quiet(NoMetrics):
    """Tells nobody, for the clock too."""

    def timer_fired(self, lateness: float) -> None:
        """Nothing."""

    def dead_lettered(self, reason: str, count: int) -> None:
        """Nothing."""

    def pruned(self, table: str, rows: int) -> None:
        """Nothing."""


def _nothing() -> None:
    """The world itself is not judged."""


class Actor:
    """One process in one slot: killed, it is another one that takes the slot."""

    role = ""

    def __init__(self, world: World, slot: int, birth: int) -> None:
        self.world, self.slot = world, slot
        self.chance = random.Random((world.seed << 10) + birth)
        self.name = f"{new_name(self.chance, self.role)[: len(self.role) + 5]}"
        self.process = Process(self.name)
        self.connections: list[TimedConnection] = []
        self.transactions: dict[Any, Any] = {}
        self.clock = ProcessClock(world, self.chance)
        self.bus = SimBus(self)
        self.store: FrontStore
        self.committing: Callable[[], Commit | None] = _nothing
        self.listens: Callable[[], None] | None = None
        self.stopping = False
        self.in_send = 0
        self.relay: Relay

    def start(self, store: FrontStore) -> None:
        """Build the services and run them."""
        self.store, self.committing = store, store.committing
        world = self.world
        self.relay = Relay(
            store=store,
            bus=self.bus,
            clock=self.clock,
            chance=self.chance,
            settings=world.settings,
            topics=world.topics,
            owner=self.name,
            page=world.page,
        )
        self.run("relay", self.relay.run())
        self.build()

    def build(self) -> None:
        """The role's own services."""

    def run(self, what: str, coro: Any) -> asyncio.Task[Any]:
        """A service must not end by itself."""

        def over(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and task.exception() is not None:
                self.world.judges.fail(f"{what} of {self.name} died: {task.exception()!r}")
            elif not self.stopping:
                self.world.judges.fail(f"{what} of {self.name} ended by itself")

        task = self.world.loop.spawn(self.process, coro)
        task.add_done_callback(over, context=self.process.context)
        return task

    async def drain(self) -> None:
        """SIGTERM: finish what is in hand; the relay goes last."""


class Core(Actor):
    """Lifecycle and clock, with their relay."""

    role = "core"

    def build(self) -> None:
        world = self.world
        rules = state_rules(world.settings)
        self.ingest = Ingest(
            store=self.store,
            bus=self.bus,
            relay=self.relay,
            clock=self.clock,
            chance=self.chance,
            topics=world.topics,
            rules=rules,
        )
        self.timers = TimerClock(
            store=self.store,
            bus=self.bus,
            relay=self.relay,
            clock=self.clock,
            chance=self.chance,
            settings=world.settings,
            rules=rules,
            metrics=Quiet(),
        )
        self.news = asyncio.Event()
        self.taking: asyncio.Task[None] | None = None
        self.generation = 0
        self.positions: dict[int, int] = {}
        self.services = [self.run("lifecycle", self._consume()), self.run("clock", self.timers.run())]

    async def _consume(self) -> None:
        """The thin shell: a batch in, then its offsets."""
        broker, world = self.world.broker, self.world
        while not self.stopping:
            if self not in broker.group:
                broker.join(self)
            if self.generation != broker.generation:
                self.generation = broker.generation
                self.positions = {place: broker.committed[place] for place in broker.assignment(self)}
            batch = self._fetch()
            if not batch:
                await self._wait()
                continue
            BATCH.set(tuple(batch))
            self.taking = asyncio.create_task(self.ingest.take(batch))
            try:
                await self.taking
            except asyncio.CancelledError:
                world.tell(self.name, "drops", "the batch in hand: its partitions are gone")
                continue
            offsets = {record.partition: record.offset + 1 for record in batch}
            try:
                await self._commit(offsets)
            except Refused:
                self.generation = 0
                continue
            self.positions.update(offsets)
        broker.leave(self)

    def _fetch(self) -> list[Record]:
        found = [
            record
            for place, position in sorted(self.positions.items())
            for record in self.world.broker.logs[place][position:]
        ]
        return found[: len(found) - self.world.tape.pick(min(len(found), 3))]

    async def _wait(self) -> None:
        self.news.clear()
        try:
            async with asyncio.timeout(20.0):
                await self.news.wait()
        except TimeoutError:
            return

    async def _commit(self, offsets: dict[int, int]) -> None:
        await self.world.port(self)
        fate = self.world.fate("offsets")
        if fate == "commit_refused":
            raise Refused("the coordinator moved")
        self.world.broker.commit(self, self.generation, offsets)
        await self.world.port(self)
        if fate == "commit_unanswered":
            raise Refused("no answer")

    def revoked(self) -> None:
        """The partitions are dealt anew: the batch in hand may be dropped, or go on unawares."""
        self.news.set()
        if self.taking is not None and not self.taking.done() and self.world.tape.pick(2):
            self.taking.cancel()

    async def drain(self) -> None:
        self.stopping = True
        self.news.set()
        self.timers.stop()
        await asyncio.gather(*self.services)
        self.relay.stop()


class DispatcherActor(Actor):
    """A dispatcher with its relay."""

    role = "dispatcher"

    def build(self) -> None:
        world = self.world
        file: Any = world.apps_file
        apps = AppBook(dict(file.secrets), file)
        client = WeChatClient(
            "http://wechat",
            apps,
            self.clock,
            in_flight=world.settings.in_flight,
            deadline=world.settings.call_deadline,
            transport=SimTransport(self),
        )
        rules = delivery_rules(world.settings)
        self.dispatcher = Dispatcher(
            holder=self.name,
            store=self.store,
            wechat=Watched(client),
            apps=apps,
            relay=self.relay,
            clock=self.clock,
            chance=self.chance,
            settings=world.settings,
            rules=rules,
            metrics=Quiet(),
        )
        self.listens = self.dispatcher.wake
        self.service = self.run("dispatcher", self.dispatcher.run())

    async def drain(self) -> None:
        self.stopping = True
        self.listens = None
        self.dispatcher.stop()
        await self.service
        self.relay.stop()
