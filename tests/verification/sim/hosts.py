"""Where the processes live: they start, are killed, stand still and drain, and the servers notice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from services.store.ports import Store
from tests.verification.dict_store.store import MemoryStore
from tests.verification.sim.actors import Actor, Core, DispatcherActor
from tests.verification.sim.bus import SESSION
from tests.verification.sim.gateway import Gateway
from tests.verification.sim.oncall import Command
from tests.verification.sim.seats import Seats
from tests.verification.sim.store import FrontStore, dict_store, forget

if TYPE_CHECKING:
    from tests.verification.sim.world import World

IDLE_IN_TRANSACTION: Final = 5.0
"""Seconds after which the server ends the session of a process that stands still."""
SLOTS: Final = (Core, Core, DispatcherActor, DispatcherActor)
ONCALL: Final = len(SLOTS) + 1
GATEWAY: Final = ONCALL + 1
SECOND_GATEWAY: Final = GATEWAY + 1
SEATS: Final = len(SLOTS) + 4
"""Places of stores: the processes', the world's own, the commands', the gateways'."""
GRAVEYARD: Final[list[Any]] = []
"""Killed processes and worlds that are over: collected, their coroutines would run their `finally`."""


class Hosts:
    """All processes of a world. `seats`: of the real store, else every store is the dict."""

    def __init__(self, world: World, seats: Seats | None) -> None:
        self.world, self.loop = world, world.loop
        self.seats = seats
        if seats is not None:
            seats.begin(world.wall)
        self.births = 0
        self.actors: list[Actor] = []
        self.watcher = Actor(world, len(SLOTS), -1)
        self.oncall: Command | None = None
        self.watcher.process = world.loop.world

    def shared_store(self) -> Store:
        """The store as the world itself sees it."""
        return self.seats.take(self.watcher) if self.seats else dict_store(self.world)

    def front(self, store: Store) -> FrontStore:
        """The same, watched by the judges."""
        front = FrontStore(store, self.watcher)
        self.watcher.committing = front.committing
        return front

    def alive(self, role: str) -> list[Any]:
        """Processes of a role that were not killed."""
        return [actor for actor in self.actors if actor.role == role and not actor.process.dead]

    def start(self, slot: int) -> None:
        """A process for this slot."""
        self.births += 1
        self._begin(SLOTS[slot](self.world, slot, self.births))

    def command(self, what: str) -> None:
        """Somebody runs a command; whoever still waits for the last one stops it."""
        if self.oncall is not None:
            self.kill(self.oncall, "is stopped")
        self.births += 1
        self.oncall = Command(self.world, ONCALL, self.births, what)
        self._begin(self.oncall)

    def gateway(self) -> Gateway:
        """The gateway; if there is none, one starts. Where activities are created there is a second,
        which is asked while the first stands still."""
        alive = {actor.slot: actor for actor in self.actors if isinstance(actor, Gateway) and _lives(actor)}
        slot = GATEWAY
        if self.world.weather.wishes and slot in alive and alive[slot].process.paused:
            slot = SECOND_GATEWAY
        if slot in alive:
            return alive[slot]
        self.births += 1
        started = Gateway(self.world, slot, self.births)
        self._begin(started)
        return started

    def _begin(self, actor: Actor) -> None:
        self.actors.append(actor)
        self.world.tell(actor.name, "starts")
        inner = self.seats.take(actor) if self.seats else self.world.store
        actor.process.context.copy().run(actor.start, FrontStore(inner, actor))

    def spawn(self, coro: Coroutine[Any, Any, Any]) -> None:
        """A task of the world's."""
        self.loop.spawn(self.loop.world, coro)

    def kill(self, actor: Actor, why: str = "is killed") -> None:
        """kill -9: the servers roll back its transactions and drop its connections."""
        if actor.process.dead:
            return
        self.world.tell(actor.name, why)
        self.loop.kill(actor.process)
        GRAVEYARD.append(actor)
        self._end_sessions(actor, close=True)
        if isinstance(actor, Core):
            self.loop.later(SESSION, self.world.broker.leave, actor)
        if actor.slot < len(SLOTS):
            self.loop.later(0.5 + self.world.tape.share() * 8, self.start, actor.slot)

    def _end_sessions(self, actor: Actor, *, close: bool) -> None:
        for front, tx in list(actor.transactions.items()):
            front.cut = True
            if not self.seats:
                tx.release()
        for connection in actor.connections:
            if close or actor.transactions:
                connection.end(close=close)
        if isinstance(self.world.store, MemoryStore):
            forget(self.world, self.world.store)

    def pause(self, actor: Actor, seconds: float) -> None:
        """SIGSTOP for so long."""
        if actor.process.dead or actor.process.paused:
            return
        self.world.tell(actor.name, f"stands still for {seconds:.1f} s")
        self.loop.pause(actor.process)
        turn = actor.process.pauses

        def still() -> bool:
            process = actor.process
            return process.paused and process.pauses == turn and not process.dead

        def idle() -> None:
            if still():
                self._end_sessions(actor, close=False)

        def silent() -> None:
            if still() and isinstance(actor, Core):
                self.world.broker.leave(actor)

        def resume() -> None:
            if still():
                self.world.tell(actor.name, "goes on")
                self.loop.resume(actor.process)

        self.loop.later(IDLE_IN_TRANSACTION, idle)
        self.loop.later(SESSION, silent)
        self.loop.later(seconds, resume)

    def how_long(self) -> float:
        """Seconds that a process stands still."""
        low, high = self.world.weather.pause
        return low + (high - low) * self.world.tape.share()

    def stop_for_long(self, actor: Actor) -> float:
        """Stopped between the lease check and the wire: the seconds until the request leaves."""
        seconds = self.how_long()
        self.pause(actor, seconds)
        if self.world.weather.dies:
            self.loop.later(seconds + 0.0005, self.kill, actor, "is killed as it wakes")
        return seconds

    async def drain(self, actor: Actor) -> None:
        """SIGTERM, and another process in its place."""
        self.world.tell(actor.name, "drains")
        task = self.loop.spawn(actor.process, actor.drain())
        actor.stopping = True
        try:
            async with asyncio.timeout(40.0):
                await asyncio.shield(task)
                await asyncio.sleep(3.0)
        except TimeoutError:
            self.world.tell(actor.name, "does not come to an end")
        self.kill(actor, "is gone")


def _lives(actor: Actor) -> bool:
    return not actor.process.dead
