"""How ingest and claims bear up as activities grow in number: 10 thousand, 100 thousand, a million.

`python -m benchmarks.growth [--sizes 10000,100000,1000000] [--events N] [--calls N]`: the activities are
copies of one that a lifecycle opened, made within the database. Then completions are taken in twice: over
10,000 of the activities, drawn from all over the table, and over all of them, where most are the first of
their activity. Then a dispatcher makes calls for the cards that this left undelivered; WeChat answers after
20 ms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import events
from benchmarks.dispatch import WAIT, pace
from benchmarks.ingest import take_in
from benchmarks.report import command_line, option, table
from benchmarks.stage import APPID, Engines, Line, Process, a_line
from benchmarks.wechat import Standin, standin
from contracts.topics import Topics

HOT = 10_000
CLAIMS = r"from activities.*(row_number|skip locked)"
"""The statements by which a dispatcher finds and locks what is due, as PostgreSQL keeps their text."""


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    sizes: str = option("10000,100000,1000000", "activities, one size after the other")
    events: int = option(100_000, "completions taken in, each time")
    calls: int = option(3_000, "calls made afterwards")


async def ingest(line: Line, names: Sequence[str], member: str, total: int) -> tuple[float, float]:
    """Completions of so many activities drawn from these: the rate, and the share of heap-only updates."""
    before, updates = await line.database.applied(), await line.database.updates()
    chance = random.Random(9)
    records = [events.completed(chance.choice(names), f"{member}-{each:06}") for each in range(total)]
    await events.produce(line.kafka, Topics(line.prefix).events, records)
    taken = await take_in(line, before + 1, before + total)
    updated, heap_only = (
        now - then for now, then in zip(await line.database.updates(), updates, strict=True)
    )
    return taken.rate, heap_only / max(updated, 1)


async def claim(line: Line, wechat: Standin, calls: int) -> list[str]:
    """Calls: their rate, the milliseconds of SQL a call, those of one claim's statements."""
    await line.database.forget()

    async def start() -> Process:
        return (await line.start("dispatcher"))[0]

    got = await pace(wechat, calls, start)
    everything, claims = await line.database.spent(), await line.database.spent(CLAIMS)
    if everything is None or claims is None:
        return [f"{got.rate:,.0f}", "-", "-"]
    made = calls + got.repeated
    return [f"{got.rate:,.0f}", f"{everything.ms / made:.2f}", f"{claims.ms / max(claims.calls, 1):.1f}"]


async def size(engines: Engines, wechat: Standin, activities: int, options: Options) -> list[str]:
    """One size: a row of the table."""
    async with a_line(engines, "growth", wechat) as line:
        lifecycle = await line.start("lifecycle")
        await events.produce(line.kafka, Topics(line.prefix).events, [events.opened("copied", APPID)])
        await line.applied(1)
        await line.published()
        await line.end(*lifecycle)
        await line.database.multiply("copied", activities)
        print(f"  {activities:,} activities are there", flush=True)
        names = [events.name(each) for each in range(activities)]
        hot = random.Random(activities).sample(names, min(HOT, activities))
        cells = [f"{activities:,}"]
        for member, some in (("hot", hot), ("all", names)):
            rate, heap_only = await ingest(line, some, member, options.events)
            cells += [f"{rate:,.0f}", f"{heap_only:.0%}"]
        await line.database.vacuum()
        return cells + await claim(line, wechat, options.calls)


async def measure(engines: Engines, options: Options) -> None:
    """Every size, each in a database of its own."""
    async with standin(WAIT) as wechat:
        sizes = [int(each) for each in options.sizes.split(",")]
        rows = [await size(engines, wechat, each, options) for each in sizes]
    print(f"  {options.events:,} completions each time, then {options.calls:,} calls")
    some = f"completions/s over {HOT:,}"
    sql = ["SQL ms/call", "ms/claim statement"]
    titles = ["activities", some, "heap-only", "over all", "heap-only", "calls/s", *sql]
    table(titles, rows)
    for place in (1, 3, 5):
        first, last = (float(row[place].replace(",", "")) for row in (rows[0], rows[-1]))
        ratio = f"{last / first:.2f}" if first else "-"
        print(f"  {titles[place]}: at {sizes[-1]:,} ÷ at {sizes[0]:,} {ratio}")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
