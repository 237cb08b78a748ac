"""The whole line as a user runs it: `livecard` processes on real engines, and WeChat's stand-in."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.changes import Change, decode_change
from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.runtime.clock import RealClock
from services.simulator.app import SimulatorServer
from services.simulator.cards import Declaration
from tests.verification.lives.wire import envelope

LIVECARD = Path(sys.executable).with_name("livecard")
APPID = "wxe2e"
SECRET = "e2e-secret"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak HTTP only: each would read the certificates of every authority else."""


def now() -> int:
    """µs since the epoch."""
    return RealClock().wall()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


async def until(condition: Callable[[], Awaitable[Any] | Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition to come true and return its value; asks again every 20 ms."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"this did not come true in {patience:g} s: {what}")
        await asyncio.sleep(0.02)  # polling a condition of another process, bounded above


@dataclass
class Service:
    """One `livecard` process."""

    kind: str
    env: dict[str, str]
    port: int
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(LIVECARD, self.kind, env=self.env, stderr=log)

    async def start(self) -> None:
        """Start and wait until it is ready."""
        await self.launch()
        await until(self.ready, f"{self.kind} is ready; its log: {self.log.read_text()[-2000:]}")

    async def ready(self) -> bool:
        """Whether /readyz answers 200."""
        assert self.process is not None
        assert self.process.returncode is None, f"{self.kind} died: {self.log.read_text()[-3000:]}"
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            try:
                return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    async def answers(self) -> bool:
        """Whether it serves already, ready or not: before that a signal just ends it."""
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            try:
                await client.get(f"http://127.0.0.1:{self.port}/healthz")
            except httpx.TransportError:
                return False
            return True

    async def kill9(self) -> None:
        """As the out-of-memory killer does."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Any other signal."""
        assert self.process is not None
        self.process.send_signal(number)


@dataclass
class Line:
    """Engines, simulator, and the processes started so far."""

    kafka: str
    database: str
    prefix: str
    folder: Path
    simulator: SimulatorServer
    settings: dict[str, str] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    producer: AIOKafkaProducer = None
    made: int = 0

    @property
    def env(self) -> dict[str, str]:
        """The environment of every process."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")},
            "LIVECARD_KAFKA": self.kafka,
            "LIVECARD_DATABASE": self.database,
            "LIVECARD_TOPIC_PREFIX": self.prefix,
            "LIVECARD_WECHAT": self.simulator.url,
            "LIVECARD_APPS": f'{{"{APPID}": "{SECRET}"}}',
            **self.settings,
        }

    async def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        """One `livecard` command: its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            LIVECARD,
            *arguments,
            env=self.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, printed.decode()

    async def start(self, *kinds: str) -> list[Service]:
        """Start these processes, all at once, and wait until they are ready."""
        started = []
        for kind in kinds:
            port = free_port()
            env = {**self.env, "LIVECARD_HTTP": f"127.0.0.1:{port}"}
            started.append(Service(kind, env, port, self.folder / f"{kind}-{port}.log"))
        self.services += started
        await asyncio.gather(*(service.start() for service in started))
        return started

    def declare(self, activity_id: str, members: Iterable[str], **what: Any) -> None:
        """Share a card into the chat, as the mini program's page does."""
        people = tuple(members)
        declaration = Declaration(
            activity_id=activity_id,
            appid=what.pop("appid", APPID),
            template=what.pop("template", "complete"),
            participants=people,
            members=people,
            publisher="gp-publisher",
            **what,
        )
        self.simulator.model.declare(now(), declaration)

    def event(self, kind: str, activity_id: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A CloudEvent; `kind` without the `livecard.` before it."""
        self.made += 1
        key, time = ("/test", f"e-{self.made}"), format_rfc3339(now())
        return envelope(f"livecard.{kind}", activity_id, key, time, data) | more

    def opened(self, activity_id: str, participants: Iterable[str] = (), **data: Any) -> dict[str, Any]:
        """An `opened` event that lives for an hour unless told otherwise."""
        body = {
            "appid": APPID,
            "template": "complete",
            "expires_at": format_rfc3339(now() + 3600 * SECOND),
            "participants": list(participants),
            **data,
        }
        return self.event("activity.opened", activity_id, body)

    def completed(self, activity_id: str, *members: str, **more: Any) -> dict[str, Any]:
        """A completion."""
        return self.event("participant.completed", activity_id, {"members": list(members)}, **more)

    async def send(self, *events: dict[str, Any], partition: int | None = None) -> None:
        """Produce in order, and wait for the broker."""
        topic = Topics(self.prefix).events
        sent = [
            await self.producer.send(
                topic, msgspec.json.encode(each), key=str(each["subject"]).encode(), partition=partition
            )
            for each in events
        ]
        await asyncio.gather(*sent)

    def card(self, activity_id: str) -> Any:
        """What the simulator shows."""
        return self.simulator.model.cards[activity_id]

    async def ledger(self) -> dict[str, Any]:
        """`livecard ledger --json`."""
        _, printed = await self.run("ledger", "--json")
        ledger: dict[str, Any] = msgspec.json.decode(printed[printed.index("{") :])
        return ledger

    async def settled(self) -> dict[str, Any]:
        """Wait until nothing is on its way and the ledger balances; the ledger."""

        async def quiet() -> dict[str, Any] | None:
            ledger = await self.ledger()
            still = ledger["revisions"]["pending"] or ledger["events"]["parked"]
            return None if still else ledger

        ledger: dict[str, Any] = await until(quiet, "every revision is settled")
        assert ledger["balanced"], ledger
        return ledger

    async def changes(self, enough: Callable[[list[Change]], bool]) -> list[Change]:
        """What was published, without repeats, in order, read until it is enough."""
        consumer = AIOKafkaConsumer(
            Topics(self.prefix).changes,
            bootstrap_servers=self.kafka.split(","),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        seen: dict[str, Change] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not enough(list(seen.values())):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            change = decode_change(record.value)
                            seen.setdefault(change.id, change)
        finally:
            await consumer.stop()
        return list(seen.values())


@asynccontextmanager
async def a_line(
    kafka: str, database: str, prefix: str, folder: Path, **settings: str
) -> AsyncIterator[Line]:
    """A line with its topics and tables, and no service yet; everything is stopped at the end."""
    simulator = SimulatorServer(apps={APPID: SECRET})
    await simulator.start()
    line = Line(kafka, database, prefix, folder, simulator, settings)
    line.producer = AIOKafkaProducer(bootstrap_servers=kafka.split(","), linger_ms=5, acks="all")
    try:
        code, printed = await line.run("init")
        assert code == 0, printed
        await line.producer.start()
        yield line
    finally:
        for service in line.services:
            if service.process is not None and service.process.returncode is None:
                service.process.kill()
                await service.process.wait()
        await line.producer.stop()
        await simulator.stop()
