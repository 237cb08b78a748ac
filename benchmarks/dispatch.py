"""Undelivered cards → calls: one dispatcher beside the fastest client and what a team would write.

`python -m benchmarks.dispatch [--calls N] [--peer-calls N]`: WeChat answers after 20 ms, 64 calls may be in
flight, everything that is to be called lies ready, and each contender runs alone. A rate is taken between
the arrivals of the first call and of the last, at WeChat's stand-in; CPU is the contender's own process.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import events
from benchmarks.database import a_database
from benchmarks.report import command_line, option, table
from benchmarks.stage import APPID, Engines, Process, a_line, until
from benchmarks.wechat import Standin, standin
from contracts.topics import Topics
from scripts.engines import Redis
from scripts.engines.redis import missing as redis_missing

WAIT = 0.02
"""Seconds until WeChat answers."""
IN_FLIGHT = 64
PYTHON = (sys.executable, "-m")


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    calls: int = option(5_000, "cards of livecard, and calls of bare aiohttp")
    peer_calls: int = option(2_000, "calls of each other peer")


class Pace(NamedTuple):
    """What a contender did. `cpu`: µs a call; `repeated`: calls beyond one an activity."""

    rate: float
    cpu: float
    repeated: int


@dataclass
class Peer:
    """A program of `benchmarks.peers`: what it needs, how its work is laid ready, how it is run."""

    name: str
    package: str
    run: Sequence[str]
    ready: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)


async def pace(wechat: Standin, calls: int, start: Callable[[], Awaitable[Process]]) -> Pace:
    """Start a contender and watch it until so many activities were called."""
    await wechat.look()
    before = len(wechat.told)
    process = await start()

    async def told(enough: int) -> bool:
        await wechat.look()
        return len({each.activity_id for each in wechat.told[before:]}) >= enough

    await until([process], lambda: told(1), "the first call")
    spent, counted = process.cpu(), len(wechat.told)
    await until([process], lambda: told(calls), f"{calls} calls")
    spent, counted = process.cpu() - spent, len(wechat.told) - counted
    seen = sorted(wechat.told[before:], key=lambda each: each.at)
    seconds = (seen[-1].at - seen[0].at) / 1e6
    return Pace((calls - 1) / max(seconds, 1e-6), spent / max(counted, 1) * 1e6, len(seen) - calls)


async def dispatcher(engines: Engines, wechat: Standin, calls: int) -> Pace:
    """Ours: cards made undelivered by a lifecycle process that is gone when the dispatcher starts."""
    async with a_line(engines, "dispatch", wechat, in_flight=IN_FLIGHT) as line:
        lifecycle = await line.start("lifecycle")
        names = [events.name(place) for place in range(calls)]
        records = [events.opened(each, APPID) for each in names] + [events.completed(each) for each in names]
        await events.produce(engines.kafka, Topics(line.prefix).events, records)
        await line.applied(len(records))
        await line.published()
        await line.end(*lifecycle)
        await line.database.vacuum()

        async def start() -> Process:
            return (await line.start("dispatcher"))[0]

        return await pace(wechat, calls, start)


async def contend(peer: Peer, wechat: Standin, calls: int, folder: Path) -> Pace | str:
    """What a peer did, or why it did nothing."""
    if importlib.util.find_spec(peer.package) is None:
        return f"{peer.package} is not installed (`make bench` does it)"
    env = {"BENCH_WECHAT": wechat.url, "BENCH_CALLS": str(calls), **peer.env}
    log = folder / f"{peer.package}.log"
    if peer.ready:
        await (await Process([*PYTHON, *peer.ready], log, env).start()).done()
    process = Process([*PYTHON, *peer.run], log, env)
    try:
        return await pace(wechat, calls, process.start)
    finally:
        await process.end()


async def bare(wechat: Standin, calls: int) -> Pace:
    """The fastest client; other benchmarks divide by its rate, too."""
    with tempfile.TemporaryDirectory() as folder:
        found = await contend(
            Peer("bare aiohttp", "aiohttp", ["benchmarks.peers.bare"]), wechat, calls, Path(folder)
        )
    assert isinstance(found, Pace)
    return found


async def faststream(engines: Engines, wechat: Standin, calls: int, folder: Path) -> Pace | str:
    """A FastStream handler."""
    topic = f"peer.{uuid.uuid4().hex[:8]}"
    await events.make_topic(engines.kafka, topic)
    wanted = [f"peer-{place:06}" for place in range(calls)]
    await events.produce(
        engines.kafka, topic, [(each, msgspec.json.encode({"activity_id": each})) for each in wanted]
    )
    env = {"BENCH_KAFKA": engines.kafka, "BENCH_TOPIC": topic}
    peer = Peer("", "faststream", ["benchmarks.peers.faststream_handler"], env=env)
    return await contend(peer, wechat, calls, folder)


async def celery(wechat: Standin, calls: int, folder: Path) -> Pace | str:
    """Celery."""
    if reason := redis_missing():
        return reason
    module = "benchmarks.peers.celery_tasks"
    run = [
        "celery",
        "-A",
        module,
        "worker",
        "--pool",
        "threads",
        "--concurrency",
        str(IN_FLIGHT),
        "--loglevel",
        "ERROR",
    ]
    with Redis() as redis:
        peer = Peer("", "celery", run, [module], {"BENCH_REDIS": redis.url})
        return await contend(peer, wechat, calls, folder)


async def procrastinate(engines: Engines, wechat: Standin, calls: int, folder: Path) -> Pace | str:
    """procrastinate."""
    module = "benchmarks.peers.procrastinate_tasks"
    async with a_database(engines.postgres, f"peer_{uuid.uuid4().hex[:8]}") as database:
        peer = Peer(
            "", "procrastinate", [module, "work"], [module, "defer"], {"BENCH_DATABASE": database.dsn}
        )
        return await contend(peer, wechat, calls, folder)


async def measure(engines: Engines, options: Options) -> None:
    """All, one after the other."""
    async with AsyncExitStack() as stack:
        wechat = await stack.enter_async_context(standin(WAIT))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = await dispatcher(engines, wechat, options.calls)
        others = {
            "bare aiohttp": await bare(wechat, options.calls),
            "FastStream handler, httpx": await faststream(engines, wechat, options.peer_calls, folder),
            "Celery on Redis, httpx": await celery(wechat, options.peer_calls, folder),
            "procrastinate, httpx": await procrastinate(engines, wechat, options.peer_calls, folder),
        }
    print(
        f"  {options.calls:,} calls, {options.peer_calls:,} by the last three; "
        f"{IN_FLIGHT} in flight, WeChat answers after {WAIT * 1000:g} ms"
    )
    rows, skipped = [], []
    for name, found in {"livecard dispatcher": ours, **others}.items():
        if isinstance(found, str):
            skipped.append(f"  {name}: not run: {found}")
        else:
            ratio = f"{ours.rate / found.rate:.2f}"
            rows.append([name, f"{found.rate:,.0f}", ratio, f"{found.cpu:,.0f}", f"{found.repeated:,}"])
    table(["", "calls/s", "livecard ÷ it", "CPU µs/call", "made again"], rows)
    print(*skipped, sep="\n", end="\n" if skipped else "")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
