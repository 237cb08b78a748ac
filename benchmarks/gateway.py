"""How many requests a second one gateway process answers, next to bare Litestar routes over the same SQL.

`python -m benchmarks.gateway [--reads N] [--creations N] [--rounds N] [--in-flight N] [--activities N]`:
reads are GET of one activity, creations POST with an id of the caller's, so that WeChat is asked for none.
Both sides are processes with the same pool and the same loops beside their routes (relay, health, metrics),
and take turns. Nobody takes the openings in meanwhile.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from operator import truediv

import aiohttp
import msgspec

from benchmarks import events
from benchmarks.report import command_line, option, percentiles, table
from benchmarks.stage import APPID, Engines, Line, Process, a_line
from benchmarks.wechat import now
from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from services.gateway.keys import KeyEntry, hash_of

KEY = "lck_benchmark"
MODEL = "model"
"""The activity of which all others are copies."""
DONE = 10
"""Members of it who are done."""


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    reads: int = option(1_500, "reads a round")
    creations: int = option(800, "creations a round")
    rounds: int = option(9, "rounds of each side, alternating")
    in_flight: int = option(16, "requests at once")
    activities: int = option(10_000, "activities that are read")


@dataclass
class Side:
    """One of the two that are compared, and what came of its rounds."""

    name: str
    process: Process
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.process.env['LIVECARD_HTTP']}/v1/activities"

    def row(self) -> list[str]:
        """As it is printed."""
        median, p99 = percentiles(self.times)
        rate, cpu = statistics.median(self.rates), statistics.median(self.cpu)
        return [self.name, f"{rate:,.0f}", f"{median * 1e3:.1f}", f"{p99 * 1e3:.1f}", f"{cpu * 1e6:,.0f}"]


@dataclass(frozen=True)
class Load:
    """Requests of one kind, for ever, and how many make a round."""

    what: str
    size: int
    requests: Iterator[Request]

    def take(self, size: int) -> list[Request]:
        """The next so many."""
        return list(islice(self.requests, size))


@dataclass(frozen=True)
class Request:
    """One to make: the path behind `/v1/activities`, and the body of a POST."""

    path: str
    status: int
    body: bytes | None = None


def reads(activities: int) -> Iterator[Request]:
    """One activity after the other, for ever."""
    return (Request(f"/{events.name(place)}", 200) for place in cycle(range(activities)))


def creations() -> Iterator[Request]:
    """New activities, for ever; each for ten people and by a caller that has its id."""
    expires_at = format_rfc3339(now() + 86_400 * SECOND)
    for number in count():
        body = {
            "appid": APPID,
            "template": "complete",
            "title": "团建报名统计",
            "participants": [f"member-{place}" for place in range(DONE)],
            "activity_id": f"created-{number:07}",
            "expires_at": expires_at,
        }
        yield Request("", 201, msgspec.json.encode(body))


async def round_of(side: Side, requests: Sequence[Request], in_flight: int) -> None:
    """Make them all, so many at once, and keep how it went."""
    left = iter(requests)
    connector = aiohttp.TCPConnector(limit=in_flight)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:

        async def work() -> None:
            for each in left:
                sent = time.perf_counter()
                method = "GET" if each.body is None else "POST"
                async with http.request(method, side.url + each.path, data=each.body) as answer:
                    text = await answer.text()
                    assert answer.status == each.status, f"{side.name}: {answer.status} {text[:200]}"
                side.times.append(time.perf_counter() - sent)

        began, used = time.perf_counter(), side.process.cpu()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        side.rates.append(len(requests) / (time.perf_counter() - began))
        side.cpu.append((side.process.cpu() - used) / len(requests))


async def compare(line: Line, sides: Sequence[Side], load: Load, options: Options) -> None:
    """Round by round, in turn; what one round left in the outbox is gone before the next."""
    for side in sides:  # connections of the pool, and whatever is made at first use
        await round_of(side, load.take(max(1, load.size // 10)), options.in_flight)
        side.rates, side.cpu, side.times = [], [], []
    await line.published()
    for _ in range(options.rounds):
        for side in sides:
            await round_of(side, load.take(load.size), options.in_flight)
            await line.published()
    table([load.what, "requests/s", "median ms", "p99", "CPU µs/request"], [side.row() for side in sides])
    ours, bare = sides
    rate = statistics.median(map(truediv, ours.rates, bare.rates))
    cpu = statistics.median(map(truediv, bare.cpu, ours.cpu))
    p99 = percentiles(ours.times)[1] / percentiles(bare.times)[1]
    print(f"  ratio {rate:.2f} (median of the rounds; of CPU alone {cpu:.2f}), p99 ÷ p99 {p99:.2f}")


async def prepare(line: Line, activities: int) -> None:
    """Activities to read: open, some of their members done."""
    members = [f"member-{place}" for place in range(2 * DONE)]
    opened = events.opened(MODEL, APPID, choose="listed", participants=members, title="团建报名统计")
    done = [events.completed(MODEL, member) for member in members[:DONE]]
    await events.produce(line.kafka, Topics(line.prefix).events, [opened, *done])
    lifecycle = await line.start("lifecycle")
    await line.applied(1 + DONE)
    await line.published()
    await line.end(*lifecycle)
    await line.database.multiply(MODEL, activities)


async def measure(engines: Engines, options: Options) -> None:
    """Reads, then creations."""
    async with a_line(engines, "gateway") as line:
        keys = line.folder / "keys.json"
        entry = KeyEntry("bench", ("read", "write"), (APPID,))
        keys.touch(0o600)
        keys.write_bytes(msgspec.json.encode({hash_of(KEY): entry}))
        line.env["LIVECARD_API_KEYS_FILE"] = str(keys)
        await prepare(line, options.activities)
        ours, bare = await line.start("gateway", "benchmarks.bare_gateway")

        print(f"  {options.in_flight} requests at once, one process each, {options.rounds} rounds in turn")
        for load in (
            Load("reads", options.reads, reads(options.activities)),
            Load("creations", options.creations, creations()),
        ):
            sides = [Side("livecard gateway", ours), Side("bare Litestar", bare)]
            await compare(line, sides, load, options)


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
