"""What everything costs while nothing happens: CPU of each service, statements and transactions in SQL.

`python -m benchmarks.idle [--activities N] [--seconds S]`: one lifecycle, clock and dispatcher each, and as
many open activities, of which none is due.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks import events
from benchmarks.ingest import openings
from benchmarks.report import command_line, option, table
from benchmarks.stage import Engines, a_line
from benchmarks.wechat import standin
from contracts.topics import Topics

SERVICES = ("lifecycle", "clock", "dispatcher")


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    activities: int = option(10_000, "open activities")
    seconds: float = option(20.0, "how long is looked")


async def measure(engines: Engines, options: Options) -> None:
    """Open the activities, wait until all is quiet, look."""
    async with standin(0) as wechat, a_line(engines, "idle", wechat) as line:
        processes = await line.start(*SERVICES)
        await events.produce(engines.kafka, Topics(line.prefix).events, openings(options.activities))
        await line.applied(options.activities)
        await line.published()
        await line.database.vacuum()
        await asyncio.sleep(min(3.0, options.seconds))
        await line.database.forget()
        used, committed = [each.cpu() for each in processes], await line.database.transactions()
        began = time.perf_counter()
        await asyncio.sleep(options.seconds)
        used = [each.cpu() - before for each, before in zip(processes, used, strict=True)]
        spent = await line.database.spent()
        committed = await line.database.transactions() - committed
        seconds = time.perf_counter() - began
    print(f"  {options.activities:,} open activities, nothing due, looked at for {seconds:.0f} s")
    rows = [
        [name, f"{cpu / seconds * 60:.2f}", f"{cpu / seconds:.1%}"]
        for name, cpu in [*zip(SERVICES, used, strict=True), ("together", sum(used))]
    ]
    table(["", "CPU s/minute", "of a core"], rows)
    counted = (
        f"{spent.calls / seconds:.1f} statements/s" if spent else "statements: not counted by this server"
    )
    print(f"  SQL: {counted}, {committed / seconds:.1f} transactions/s")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
