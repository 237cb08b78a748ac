"""Kafka as far as our services can tell: partitions, a group with generations and offsets, a producer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from contracts.records import Record
from services.kafka.ports import BusUnavailable, Message

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor, Core
    from tests.verification.sim.world import World

PARTITIONS: Final = 2
SESSION: Final = 10.0
"""Seconds until a member that is silent is out of the group."""
DELIVERY: Final = 2.0
"""Seconds after which a producer that heard nothing gives up."""


class Refused(Exception):
    """An offsets' commit of a generation that is over, or that nobody answered."""


class Broker:
    """One cluster. Everything in it happens in the world, which nobody kills."""

    def __init__(self, world: World, events: str) -> None:
        self.world, self.events = world, events
        self.logs: dict[int, list[Record]] = {place: [] for place in range(PARTITIONS)}
        self.topics: dict[str, list[Message]] = {}
        self.committed: dict[int, int] = dict.fromkeys(range(PARTITIONS), 0)
        self.generation = 0
        self.group: list[Core] = []
        self.away = 0

    def gone(self) -> bool:
        """Whether nobody reaches it; whoever asks has felt it."""
        if self.away:
            self.world.hit("broker_outage", self.away)
        return self.away > 0

    def append_event(self, partition: int, key: str, value: bytes) -> None:
        """A producer of other services' wrote."""
        log = self.logs[partition]
        log.append(Record(self.events, partition, len(log), key.encode(), value, ()))
        for core in self.group:
            if partition in core.positions or core.generation != self.generation:
                core.news.set()

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        """One of ours wrote."""
        if topic == self.events:
            for each in messages:
                self.append_event(self.world.tape.pick(2), (each.key or b"").decode(), each.value or b"")
            return
        self.topics.setdefault(topic, []).extend(messages)

    def nudge(self) -> None:
        """To whichever dispatcher has the partition; without any, nobody hears it."""
        listening = [actor for actor in self.world.hosts.alive("dispatcher") if actor.listens is not None]
        if not listening:
            return
        heard = listening[self.world.tape.pick(len(listening))]
        self.world.loop.call_soon(heard.listens, context=heard.process.context)

    def join(self, core: Core) -> None:
        """A member more: all partitions are dealt anew (only eager rebalancing)."""
        self.group.append(core)
        self.rebalance()

    def leave(self, core: Core) -> None:
        """It said so, or was silent for too long."""
        if core in self.group:
            self.group.remove(core)
            self.rebalance()

    def rebalance(self) -> None:
        """A new generation."""
        self.generation += 1
        for core in self.group:
            self.world.loop.call_soon(core.revoked, context=core.process.context)

    def assignment(self, core: Core) -> list[int]:
        """What this member has in this generation."""
        if core not in self.group:
            return []
        place = self.group.index(core)
        return [each for each in range(PARTITIONS) if each % len(self.group) == place % len(self.group)]

    def commit(self, core: Core, generation: int, offsets: dict[int, int]) -> None:
        """Take offsets. Raises `Refused` for a generation that is over."""
        if core not in self.group or generation != self.generation or self.gone():
            raise Refused("the generation is over")
        self.committed.update(offsets)


class SimBus:
    """One process's producer; implements `services.kafka.ports.Bus`."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.world, self.broker = actor, actor.world, actor.world.broker

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        world = self.world
        await world.port(self.actor)
        fate = world.fate("publish")
        if fate == "publish_refused" or self.broker.gone():
            raise BusUnavailable("the broker is away")
        kept = len(messages) - world.tape.pick(len(messages) + 1) if fate else len(messages)
        done = asyncio.get_running_loop().create_future()
        world.loop.later(world.latency(), self._arrive, topic, list(messages[:kept]), None if fate else done)
        if fate:
            await asyncio.sleep(DELIVERY)
            raise BusUnavailable("no acknowledgement")
        await done
        await world.port(self.actor)

    def _arrive(self, topic: str, messages: list[Message], done: asyncio.Future[None] | None) -> None:
        self.broker.append(topic, messages)
        if done is not None:
            self.world.loop.later(self.world.latency(), settle, done, None)

    def nudge(self, _topic: str, _revisions: Mapping[str, int], _headers: Any = None) -> None:
        if not self.world.fate("nudge") and not self.broker.away:
            self.world.loop.later(self.world.latency(), self.broker.nudge)


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Answer whoever still waits; an exception is raised there."""
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
