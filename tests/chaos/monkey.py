"""What goes wrong, drawn by a seed: each act does its harm and mends it before the next."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from scripts.engines import Kafka, Postgres
from services.simulator.faults import Action, Match, Rule
from tests.e2e.line import APPID, Line, Service, until

LIES = (
    Action(errcode=-1),
    Action(http=502, applied=True),
    Action(http=429),
    Action(hang=3.0),
    Action(apply_then_hang=3.0),
    Action(cut=True),
    Action(apply_then_cut=True),
    Action(cut_then_apply=1.5),
    Action(garbage="html", applied=True),
    Action(garbage="half", applied=True),
    Action(errcode=45011),
    Action(errcode=40164),
    Action(latency=0.5),
)


class Monkey:
    """Harms the line until told to stop; `acts` counts what it did."""

    def __init__(self, line: Line, kafka: Kafka, postgres: Postgres, seed: int) -> None:
        self.line, self.kafka, self.postgres = line, kafka, postgres
        self.chance = random.Random(seed)
        self.acts: Counter[str] = Counter()
        self.kills = 0
        self.told: list[str] = []

    async def run(self, seconds: float) -> None:
        """One act after the other for so long."""
        acts: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "kill -9 a service": (10, self.kill_service),
            "freeze a dispatcher past its lease": (2, self.freeze),
            "roll a service": (2, self.roll),
            "kill -9 a broker": (2, self.kill_broker),
            "crash PostgreSQL": (2, self.crash_postgres),
            "WeChat lies": (6, self.lie),
            "revoke tokens": (2, self.revoke),
        }
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            name = self.chance.choices(list(acts), [weight for weight, _ in acts.values()])[0]
            self.acts[name] += 1
            self.told.append(f"{loop.time():.1f} {name}")
            await acts[name][1]()
            await asyncio.sleep(self.chance.uniform(0.1, 1.0))

    def _any(self, kind: str | None = None) -> Service:
        return self.chance.choice([each for each in self.line.services if kind in (None, each.kind)])

    async def kill_service(self) -> None:
        """And start it again, without waiting until it is ready."""
        victim = self._any()
        self.kills += 1
        await victim.kill9()
        await victim.launch()

    async def roll(self) -> None:
        """SIGTERM, exit code 0, start again."""
        victim = self._any()
        await until(victim.answers, f"{victim.kind} serves")
        code = await victim.terminate()
        assert code == 0, f"{victim.kind} left with {code}: {victim.log.read_text()[-2000:]}"
        await victim.launch()

    async def freeze(self) -> None:
        """SIGSTOP until the lease is over; what it had in flight goes out late."""
        victim = self._any("dispatcher")
        victim.signal(signal.SIGSTOP)
        await asyncio.sleep(7.0)
        victim.signal(signal.SIGCONT)

    async def kill_broker(self) -> None:
        """One of three; the others serve on."""
        index = self.chance.randrange(3)
        self.kills += 1
        await asyncio.to_thread(self.kafka.kill9, index)
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await asyncio.to_thread(self.kafka.start_broker, index)

    async def crash_postgres(self) -> None:
        """`pg_ctl restart -m immediate`."""
        self.kills += 1
        await asyncio.to_thread(lambda: self.postgres.restart(immediate=True))

    async def lie(self) -> None:
        """For a few seconds a share of the answers is wrong in one way."""
        action = self.chance.choice(LIES)
        rule = Rule(
            action=action,
            match=Match(path=SET_CHAT_TOOL_MSG_PATH),
            probability=self.chance.choice((0.1, 0.3, 1.0)),
            count=200,
        )
        (name,) = self.line.simulator.faults.add([rule])
        self.told.append(f"  {action.kind}")
        await asyncio.sleep(self.chance.uniform(1.0, 3.0))
        self.line.simulator.faults.remove(name)

    async def revoke(self) -> None:
        """Every token dies at once."""
        self.line.simulator.model.tokens.revoke(APPID)
