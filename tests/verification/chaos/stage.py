"""What a run plays on: engines behind proxies, watched processes, and a WeChat that remembers every call."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import msgspec
from aiohttp import web

from contracts.wechat import CREATE_ACTIVITY_ID_PATH, SET_CHAT_TOOL_MSG_PATH
from scripts.engines import Kafka, Postgres
from scripts.engines.process import free_ports
from services.simulator.app import SimulatorServer
from services.simulator.cards import ChatToolMsg
from tests.e2e.line import Line, Service, now
from tests.verification.chaos.plan import APPS, BROKERS, GATEWAYS, LATEST, LEASE, SERVICES
from tests.verification.chaos.proxy import Proxy
from tests.verification.chaos.record import Call

SETTINGS = {
    "LIVECARD_LEASE": f"{LEASE:g}",
    "LIVECARD_CALL_DEADLINE": "2",
    "LIVECARD_KAFKA_SESSION": "6",
    "LIVECARD_REPAIR_AFTER": f"{LATEST + 1:g}",
    "LIVECARD_SWEEP": "1",
    "LIVECARD_BACKOFF_CAP": "4",
    "LIVECARD_PROBE": "2",
    "LIVECARD_QUOTA_PROBE": "3",
    "LIVECARD_RELAY_LEASE": "4",
    "LIVECARD_REPLICATION": f"{BROKERS}",
    "LIVECARD_END_WAIT": "3600",  # nobody may be left out, however long the weather lasts
    "LIVECARD_APPS": msgspec.json.encode({app: f"{app}-secret" for app in APPS}).decode(),
}
DOOR = "PROXIED"
_MESSAGE = msgspec.json.Decoder(ChatToolMsg)


class ProxiedKafka(Kafka):
    """Three brokers with a second door each, which they advertise at the port of its proxy."""

    def __init__(self) -> None:
        super().__init__(brokers=BROKERS, listeners={DOOR: "PLAINTEXT"})
        doors = [int(each.rpartition(":")[2]) for each in self.address(DOOR).split(",")]
        self.proxies = [Proxy(door, port) for door, port in zip(doors, free_ports(BROKERS), strict=True)]

    @property
    def proxied(self) -> str:
        """The addresses of all proxies."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def _properties(self, index: int) -> str:
        here, there = self.address(DOOR).split(",")[index], f"127.0.0.1:{self.proxies[index].port}"
        lines = super()._properties(index).splitlines(keepends=True)
        return "".join(
            line.replace(here, there) if line.startswith("advertised.listeners=") else line for line in lines
        )


@dataclass(eq=False)
class Ambush:
    """Somebody waits for the next id that WeChat gives, and holds its answer back until he is done."""

    given: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class WatchedWeChat(SimulatorServer):
    """WeChat, with a note of every message as it came in and how it was answered."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"chaos/{seed}/answers")
        super().__init__(apps={app: f"{app}-secret" for app in APPS}, chance=chance)
        self.calls: list[Call] = []
        self.ambush: Ambush | None = None

    def routes(self) -> list[web.RouteDef]:
        """The messages' path leads through our book."""
        return [
            web.route("*", SET_CHAT_TOOL_MSG_PATH, self._watched),
            web.route("*", CREATE_ACTIVITY_ID_PATH, self._creating),
            *super().routes(),
        ]

    async def _creating(self, request: web.Request) -> web.StreamResponse:
        """An id was given; whoever waits for that strikes before it is answered."""
        answer = await self.shell.answer(request)
        body = answer.body if isinstance(answer, web.Response) else None
        given = isinstance(body, bytes) and b'"activity_id"' in body
        if given and (ambush := self.ambush) is not None:
            self.ambush = None
            ambush.given.set()
            await ambush.over.wait()
        return answer

    async def _watched(self, request: web.Request) -> web.StreamResponse:
        came = now()
        try:
            message = _MESSAGE.decode(await request.read())
        except (msgspec.DecodeError, OSError):  # it was cut off on the way: WeChat never saw it
            return web.Response(status=400)
        members = tuple(each.group_openid for each in message.participator_info_list or ())
        call = Call(message.activity_id, came, message.target_state or 0, members)
        self.calls.append(call)
        try:
            answer = await self.shell.answer(request)
            call.answer = _said(answer)
            return answer
        finally:
            call.left = now()


def _said(answer: web.StreamResponse) -> str:
    body = answer.body if isinstance(answer, web.Response) else None
    if isinstance(body, bytes) and body.startswith(b'{"errcode":'):
        return body[11:].split(b",", 1)[0].decode()
    return f"HTTP {answer.status}" if body else "nothing"


@dataclass(eq=False)
class Unit:
    """One service that is started again whenever it ends."""

    name: str
    service: Service
    asked: bool = False
    code: int = 0
    back: asyncio.Event = field(default_factory=asyncio.Event)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pid(self) -> int:
        """The present process's id."""
        assert self.service.process is not None
        return self.service.process.pid

    def send(self, number: signal.Signals) -> None:
        """A signal to the present process."""
        with contextlib.suppress(ProcessLookupError):
            self.service.signal(number)

    async def end(self, number: signal.Signals) -> int:
        """End it by a signal, wait until it was started again; the exit code of the one that ended."""
        self.asked = True
        self.back.clear()
        self.send(number)
        await self.back.wait()
        return self.code


@dataclass
class Stage:
    """Everything that can be harmed. `died` tells of processes that ended though nobody asked them to."""

    kafka: ProxiedKafka
    postgres: Postgres
    wechat: WatchedWeChat
    line: Line
    inside: Line
    proxies: dict[str, Proxy]
    units: dict[str, Unit] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Two of each service, and somebody who starts them again."""
        for service in await self.line.start(*SERVICES, *SERVICES):
            number = sum(each.service.kind == service.kind for each in self.units.values())
            unit = Unit(f"{service.kind} {number}", service)
            self.units[unit.name] = unit
            self._keepers.append(asyncio.create_task(self._keep(unit)))
            if service.kind == "gateway":
                self.proxies[unit.name] = proxy = Proxy(service.port)
                await proxy.start()

    async def _keep(self, unit: Unit) -> None:
        while True:
            process = unit.service.process
            assert process is not None
            unit.code = await process.wait()
            if not unit.asked:
                tail = unit.service.log.read_text("utf-8", "replace")[-3000:]
                self.died.append(f"{unit.name} ended by itself with {unit.code}; its log ends:\n{tail}")
            await unit.service.launch()
            unit.asked = False
            unit.back.set()

    async def stop(self) -> None:
        """No more restarts."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for number in range(GATEWAYS):
            if proxy := self.proxies.get(f"gateway {number}"):
                await proxy.stop()


@asynccontextmanager
async def a_stage(
    kafka: ProxiedKafka, postgres: Postgres, seed: int, folder: Path, files: dict[str, str]
) -> AsyncIterator[Stage]:
    """Topics and tables, WeChat, proxies in between, and no service yet; `files`: settings that name some."""
    name = f"chaos{seed}"
    admin = await asyncpg.connect(postgres.url("postgres").replace("+asyncpg", ""))
    await admin.execute(f'CREATE DATABASE "{name}"')
    await admin.close()
    async with contextlib.AsyncExitStack() as stack:
        wechat = WatchedWeChat(seed)
        await wechat.start()
        stack.push_async_callback(wechat.stop)
        proxies = {
            "postgres": Proxy(postgres.port),
            "wechat": Proxy(wechat.port),
            **{f"kafka {index}": proxy for index, proxy in enumerate(kafka.proxies)},
        }
        for proxy in proxies.values():
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        settings = {**SETTINGS, **files, "LIVECARD_WECHAT": f"http://127.0.0.1:{proxies['wechat'].port}"}
        direct = postgres.url(name)
        proxied = direct.replace(f":{postgres.port}/", f":{proxies['postgres'].port}/")
        inside = Line(kafka.bootstrap, direct, f"{name}.", folder, wechat, settings)
        line = Line(kafka.proxied, proxied, f"{name}.", folder, wechat, settings)
        code, printed = await inside.run("init")
        assert code == 0, printed
        stage = Stage(kafka, postgres, wechat, line, inside, proxies)
        stack.push_async_callback(_end, line)
        stack.push_async_callback(stage.stop)
        yield stage


async def _end(line: Line) -> None:
    for service in line.services:
        process = service.process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
