"""Those who do what the plan says: one monkey for each kind of harm, all at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.topics import Topics
from contracts.wechat import CREATE_ACTIVITY_ID_PATH, SET_CHAT_TOOL_MSG_PATH
from services.simulator.faults import Action, Match, Rule
from tests.e2e.line import now, until
from tests.verification.chaos.plan import AMBUSH, BROKERS, GATEWAYS, Act
from tests.verification.chaos.record import Harm
from tests.verification.chaos.stage import Ambush, Stage, Unit

PLENTY: Final = 100_000_000
PATIENT: Final = ("brokers", "postgres", "services")
"""Monkeys that keep their pauses when they fall behind: between two crashes something must get done."""
SERVING: Final = 15.0
"""Seconds that a service has to come up before it is hit all the same."""


LURKING: Final = 5.0
"""Seconds that one waits for WeChat to give an id."""


class NotDone(Exception):
    """The harm could not be done within the promise."""


class Monkeys:
    """Play a plan on a stage; `harms` is what was done, in order of its beginning.

    On a slow machine they fall behind: they stop with the weather then, or go on `to_the_last` act.
    """

    def __init__(self, stage: Stage, acts: list[Act], *, to_the_last: bool = False) -> None:
        self.stage, self.acts, self.to_the_last = stage, acts, to_the_last
        self.harms: list[Harm] = []
        self.rolled: list[str] = []
        self.done: Counter[str] = Counter()
        self.kills = 0
        self.caught = 0
        self._began: dict[str, int] = {}
        self._whom: dict[str, str] = {}
        self._doing: dict[str, Callable[[Act], Awaitable[None]]] = {
            "kill a service": self._kill_service,
            AMBUSH: self._ambush,
            "roll": self._roll,
            "freeze": self._freeze,
            "kill a broker": self._kill_broker,
            "kill every broker": self._kill_brokers,
            "stop every broker": self._stop_brokers,
            "crash PostgreSQL": self._crash_postgres,
            "kill PostgreSQL": self._kill_postgres,
            "WeChat answers": self._lie,
            "revoke tokens": self._revoke,
            "use up the minute": self._minute,
            "use up the day": self._day,
            "refuse the address": self._refuse,
            "cut connections": self._cut,
            "stall": self._stall,
            "half-close": self._half_close,
        }

    async def play(self) -> None:
        """All acts at their times, or as soon as their monkey is free; returns when all is mended."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.TaskGroup() as group:
            for monkey in dict.fromkeys(act.monkey for act in self.acts):
                group.create_task(self._monkey(begin, [act for act in self.acts if act.monkey == monkey]))

    async def _monkey(self, begin: float, acts: list[Act]) -> None:
        loop = asyncio.get_running_loop()
        last = begin + self.acts[-1].at
        for act in acts:
            if loop.time() > last and not self.to_the_last:  # it fell behind: what is left is not done
                return
            await asyncio.sleep(max(0.0, begin + act.at - loop.time()))
            if act.monkey in PATIENT:
                begin = max(begin, loop.time() - act.at)
            self._began[act.monkey] = now()
            try:
                await self._doing[act.what](act)
            except NotDone:
                continue
            whom = self._whom.pop(act.monkey, "") or act.whom
            what = str(msgspec.structs.replace(act, whom=whom))
            self.harms.append(Harm(self._began[act.monkey], now(), what, act.kills))
            self.done[act.what] += 1
            self.kills += act.kills

    def _strikes(self, act: Act, whom: str = "") -> None:
        """The preparations are over: now it happens, and to this one."""
        self._began[act.monkey] = now()
        self._whom[act.monkey] = whom

    # Processes.

    def _unit(self, act: Act) -> Unit:
        """The one the plan names, or its brother while that one is frozen or rolled."""
        kind, _, number = act.whom.partition(" ")
        named = self.stage.units[act.whom]
        return self.stage.units[f"{kind} {1 - int(number)}"] if named.busy.locked() else named

    async def _kill_service(self, act: Act) -> None:
        unit = self._unit(act)
        async with unit.busy:
            await self._serving(unit)
            self._strikes(act, unit.name)
            await unit.end(signal.SIGKILL)

    async def _ambush(self, act: Act) -> None:
        """Every gateway, while one of them is about to hear of an id that WeChat has given it; after a
        while without a creation all the same."""
        async with contextlib.AsyncExitStack() as stack:
            units = [self.stage.units[f"gateway {number}"] for number in range(GATEWAYS)]
            for unit in units:
                await stack.enter_async_context(unit.busy)
                await self._serving(unit)
            ambush = self.stage.wechat.ambush = Ambush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LURKING):
                    await ambush.given.wait()
            self.stage.wechat.ambush = None
            caught = "as WeChat gives an id" if ambush.given.is_set() else "for no reason"
            self._strikes(act, caught)
            await asyncio.gather(*(unit.end(signal.SIGKILL) for unit in units))
            ambush.over.set()
            self.caught += ambush.given.is_set()

    async def _serving(self, unit: Unit) -> None:
        """So that something real is hit; a service that cannot start because an engine is away is, too."""
        with contextlib.suppress(AssertionError):
            await until(unit.service.answers, f"{unit.name} serves", SERVING)

    async def _roll(self, act: Act) -> None:
        """SIGTERM: it must leave with 0, whatever is ill around it."""
        unit = self._unit(act)
        async with unit.busy:
            await until(unit.service.answers, f"{unit.name} serves")
            self._strikes(act, unit.name)
            code = await unit.end(signal.SIGTERM)
        if code != 0:
            tail = unit.service.log.read_text("utf-8", "replace")[-3000:]
            self.rolled.append(f"{unit.name} left a SIGTERM with {code}; its log ends:\n{tail}")

    async def _freeze(self, act: Act) -> None:
        """SIGSTOP until its leases are over; what it had in hand goes on after that."""
        unit = self._unit(act)
        async with unit.busy:
            await self._serving(unit)
            self._strikes(act, unit.name)
            unit.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(act.more["seconds"])
            finally:
                unit.send(signal.SIGCONT)

    # Engines.

    async def _kill_broker(self, act: Act) -> None:
        """One of three, once the others have all it has; it is back when all are in sync again."""
        index = int(act.whom)
        if not await self._in_sync():
            raise NotDone
        self._strikes(act)
        await asyncio.to_thread(self.stage.kafka.kill9, index)
        await asyncio.sleep(act.more["seconds"])
        await asyncio.to_thread(self.stage.kafka.start_broker, index)

    async def _kill_brokers(self, act: Act) -> None:
        await asyncio.to_thread(self.stage.kafka.kill9)
        await asyncio.sleep(act.more["seconds"])
        await asyncio.to_thread(self.stage.kafka.start)

    async def _stop_brokers(self, act: Act) -> None:
        await asyncio.to_thread(self.stage.kafka.stop, seconds=10)
        await asyncio.sleep(act.more["seconds"])
        await asyncio.to_thread(self.stage.kafka.start)

    async def _in_sync(self) -> bool:
        """Wait until every partition of every topic has all its replicas; False when that takes too long."""
        topics = Topics(self.stage.inside.prefix)
        names = [topics.events, topics.changes, topics.dead, topics.nudges, "__consumer_offsets"]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stage.kafka.bootstrap.split(","))
        try:
            await until(lambda: self._all_in_sync(admin, names), "all replicas are in sync")
        except AssertionError:
            return False
        finally:
            await admin.close()
        return True

    async def _all_in_sync(self, admin: AIOKafkaAdminClient, names: list[str]) -> bool:
        try:
            await admin.start()
            told = await admin.describe_topics(names)
        except (KafkaError, OSError):
            return False
        parts = [part for topic in told for part in topic["partitions"]]
        return all(len(part["isr"]) == BROKERS for part in parts)

    async def _crash_postgres(self, _: Act) -> None:
        await asyncio.to_thread(lambda: self.stage.postgres.restart(immediate=True))

    async def _kill_postgres(self, _: Act) -> None:
        """kill -9 of the postmaster."""
        await asyncio.to_thread(self.stage.postgres.kill9)
        await asyncio.to_thread(self.stage.postgres.start)

    # WeChat.

    async def _lie(self, act: Act) -> None:
        """A share of the answers is wrong in one way, for a while."""
        action = {name: value for name, value in act.more.items() if name not in ("share", "seconds")}
        paths = [Match(path=path) for path in (SET_CHAT_TOOL_MSG_PATH, CREATE_ACTIVITY_ID_PATH)]
        await self._strike(act, action, paths, act.more["share"])

    async def _refuse(self, act: Act) -> None:
        await self._strike(act, {"errcode": 40164}, [Match(appid=act.whom)], 1.0)

    async def _strike(self, act: Act, action: dict[str, Any], matches: list[Match], share: float) -> None:
        faults, lie = self.stage.wechat.faults, msgspec.convert(action, Action)
        names = faults.add([Rule(action=lie, match=match, probability=share) for match in matches])
        try:
            await asyncio.sleep(act.more["seconds"])
        finally:
            for name in names:
                faults.remove(name)

    async def _revoke(self, act: Act) -> None:
        self.stage.wechat.model.tokens.revoke(act.whom)

    async def _minute(self, act: Act) -> None:
        """45011 until the quota is raised; livecard waits for the next minute."""
        quotas = self.stage.wechat.model.quotas
        quotas.limit(act.whom, SET_CHAT_TOOL_MSG_PATH, daily=None, minute=0)
        try:
            await asyncio.sleep(act.more["seconds"])
        finally:
            quotas.limit(act.whom, SET_CHAT_TOOL_MSG_PATH, daily=None, minute=PLENTY)

    async def _day(self, act: Act) -> None:
        """45009 until the quota is raised; livecard finds out by asking for what is left."""
        quotas = self.stage.wechat.model.quotas
        quotas.limit(act.whom, SET_CHAT_TOOL_MSG_PATH, daily=0, minute=None)
        try:
            await asyncio.sleep(act.more["seconds"])
        finally:
            quotas.limit(act.whom, SET_CHAT_TOOL_MSG_PATH, daily=PLENTY, minute=None)

    # Connections.

    async def _cut(self, act: Act) -> None:
        self.stage.proxies[act.whom].cut()

    async def _stall(self, act: Act) -> None:
        await self.stage.proxies[act.whom].stall(act.more["seconds"])

    async def _half_close(self, act: Act) -> None:
        await self.stage.proxies[act.whom].half_close(act.more["seconds"])
