"""Lifecycles and dispatchers join and leave under load: what each adds to the rate, and that nothing repeats.

`python -m benchmarks.joining [--seconds S] [--wait S] [--in-flight N]`: WeChat answers slowly, so that its
answering time is what limits a dispatcher: `in-flight` ÷ `wait` calls a second. At any time `--waiting` cards
are behind. Two lifecycles share the partitions; a second dispatcher joins the first, then a third of each
joins, then one of each gets SIGTERM. At the end every member must have been told once, and the ledger must
balance.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec

from benchmarks import events
from benchmarks.report import command_line, option, table
from benchmarks.stage import APPID, LIVECARD, Engines, Line, Process, a_line
from benchmarks.wechat import Standin, now, standin
from contracts.times import SECOND
from contracts.topics import Topics

MEMBERS = ("member-a", "member-b", "member-c")
"""Who finishes in each activity."""
TICK = 0.05
"""Seconds between two looks at how many cards wait."""


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    seconds: float = option(8.0, "how long each number of processes is looked at")
    wait: float = option(0.5, "seconds until WeChat answers")
    in_flight: int = option(32, "most calls in flight of a dispatcher")
    dispatchers: int = option(3, "most dispatchers; with the last one a third lifecycle joins")
    waiting: int = option(1_000, "activities that are not told yet, at any time")


class Phase(NamedTuple):
    """From when to when, µs, and what each process of a kind did: events taken in, calls made."""

    begin: int
    end: int
    taken: list[int]
    made: list[int]


class Feed:
    """Opens activities and has their members finish, so that there are always some that nobody was told."""

    def __init__(self, line: Line, wechat: Standin, waiting: int) -> None:
        self._line, self._wechat, self._waiting = line, wechat, waiting
        self._told: set[str] = set()
        self._looked = 0
        self.sent = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meanwhile it feeds; afterwards, everything that it sent is told."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._waiting = 0
            await task

    async def _run(self) -> None:
        topic = Topics(self._line.prefix).events
        async with events.producing(self._line.kafka, linger_ms=5) as producer:
            while self._waiting or len(self._told) < self.sent:
                for service in self._line.services:
                    if service.process is not None:  # which it is until it has been started
                        service.check()
                await self._look()
                for place in range(self.sent, len(self._told) + self._waiting):
                    name = events.name(place)
                    records = [
                        events.opened(name, APPID),
                        *(events.completed(name, each) for each in MEMBERS),
                    ]
                    for key, value in records:
                        await producer.send(topic, value, key=key.encode())
                    self.sent = place + 1
                await asyncio.sleep(TICK)

    async def _look(self) -> None:
        await self._wechat.look()
        self._told.update(each.activity_id for each in self._wechat.told[self._looked :])
        self._looked = len(self._wechat.told)


async def counted(services: Sequence[Process], metric: str) -> list[int]:
    """What each process has counted of a metric, whatever its labels."""
    totals = []
    async with aiohttp.ClientSession() as http:
        for service in services:
            async with http.get(f"http://{service.env['LIVECARD_HTTP']}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            mine = [line for line in lines if line.startswith((f"{metric}{{", f"{metric} "))]
            totals.append(round(sum(float(line.rpartition(" ")[2]) for line in mine)))
    return totals


async def phase(lifecycles: Sequence[Process], dispatchers: Sequence[Process], options: Options) -> Phase:
    """Look at these processes for a while, once the calls in flight are those of this number."""
    await asyncio.sleep(2 * options.wait)

    async def did() -> tuple[list[int], list[int]]:
        return (
            await counted(lifecycles, "livecard_events_total"),
            await counted(dispatchers, "livecard_calls_total"),
        )

    begin, before = now(), await did()
    await asyncio.sleep(options.seconds)
    after = await did()
    taken, made = (
        [late - early for late, early in zip(*each, strict=True)] for each in zip(after, before, strict=True)
    )
    return Phase(begin, now(), taken, made)


async def leave(line: Line, *services: Process) -> None:
    """SIGTERM to each, while the others go on; each must end with 0."""
    for service in services:
        line.services.remove(service)
    if any(codes := await asyncio.gather(*(service.end() for service in services))):
        raise SystemExit(f"asked to leave, they ended with {codes}")


async def play(line: Line, options: Options) -> list[Phase]:
    """Join and leave."""
    *lifecycles, dispatcher = await line.start("lifecycle", "lifecycle", "dispatcher")
    dispatchers = [dispatcher]
    phases = [await phase(lifecycles, dispatchers, options)]
    for place in range(2, options.dispatchers + 1):
        joining = await line.start("dispatcher", *(["lifecycle"] if place == options.dispatchers else []))
        dispatchers, lifecycles = [*dispatchers, joining[0]], [*lifecycles, *joining[1:]]
        phases.append(await phase(lifecycles, dispatchers, options))
    await leave(line, lifecycles.pop(0), dispatchers.pop(0))
    phases.append(await phase(lifecycles, dispatchers, options))
    return phases


async def ledger(line: Line) -> dict[str, Any]:
    """`livecard ledger`, which must balance."""
    log = line.folder / "ledger.log"
    process = await Process([LIVECARD, "ledger", "--json"], log, line.env).start()
    await process.done()
    printed = log.read_text("utf-8")
    found: dict[str, Any] = msgspec.json.decode(printed[printed.index("{\n") :])
    return found


def judge(wechat: Standin, lost: int, sent: int, book: dict[str, Any]) -> str:
    """What was told to WeChat and counted by livecard, in a sentence; nothing may have repeated."""
    told: Counter[str] = Counter()
    for each in wechat.told:
        told[each.activity_id] += each.members
    wrong = sum(told[events.name(place)] != len(MEMBERS) for place in range(sent))
    expected = {
        "activities of which not every member was told once": (wrong, 0),
        "calls whose sender was gone": (lost, 0),
        "calls in the ledger": (book["calls"]["made"], len(wechat.told)),
        "unknown outcomes": (book["calls"]["unknown"], 0),
        "members repeated": (book["calls"]["members_repeated"], 0),
        "events applied": (book["events"]["applied"], sent * (1 + len(MEMBERS))),
        "revisions pending": (book["revisions"]["pending"], 0),
    }
    if bad := [f"{what}: {is_} instead of {due}" for what, (is_, due) in expected.items() if is_ != due]:
        raise SystemExit("; ".join(bad))
    return (
        f"{book['events']['applied']:,} events taken in, {book['events']['repeats']:,} of them again; "
        f"{len(wechat.told):,} calls told {sum(told.values()):,} members, none twice; the ledger balances"
    )


async def measure(engines: Engines, options: Options) -> None:
    """One line, four numbers of processes."""
    settings = {"in_flight": options.in_flight, "partitions": 8}
    async with standin(options.wait) as wechat, a_line(engines, "joining", wechat, **settings) as line:
        feed = Feed(line, wechat, options.waiting)
        async with feed.running():
            phases = await play(line, options)
        await leave(line, *line.services)
        book, account = await ledger(line), await wechat.look()
    told = judge(wechat, account.lost, feed.sent, book)
    limit = options.in_flight / options.wait
    print(
        f"  WeChat answers after {options.wait:g} s, {options.in_flight} in flight: {limit:,.0f} calls/s each"
    )
    rates = [
        sum(each.begin <= call.at < each.end for call in wechat.told) / (each.end - each.begin) * SECOND
        for each in phases
    ]
    rows = [
        [
            f"{len(each.taken)}, {len(each.made)}",
            f"{rate:,.0f}",
            f"{rate / rates[0]:.2f}",
            f"{rate / limit:.2f}",
            " ".join(map(str, each.made)),
            " ".join(map(str, each.taken)),
        ]
        for each, rate in zip(phases, rates, strict=True)
    ]
    titles = ["lifecycles, dispatchers", "calls/s", "÷ one's", "÷ the limit of one", "calls of each"]
    table([*titles, "events taken in by each"], rows)
    print(f"  {told}")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
