"""Many activities that end in the same second, as on the hour: when each was ended, and when it was told.

`python -m benchmarks.ends [--activities N] [--calls N]`: a clock and a dispatcher run; WeChat answers after
20 ms. The time to the last call is held against the time in which bare aiohttp would make as many, in the
same run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks import events
from benchmarks.dispatch import WAIT, bare
from benchmarks.report import command_line, option
from benchmarks.stage import APPID, Engines, Line, a_line, until
from benchmarks.wechat import Standin, now, standin
from contracts.changes import ActivityChanged, decode_change
from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics

ENDED = 3


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    activities: int = option(10_000, "activities that end together")
    calls: int = option(5_000, "calls of bare aiohttp")


async def ended(line: Line) -> dict[str, int]:
    """When the end of each activity was known, by what was published; µs since the epoch."""
    values = await events.everything(line.kafka, Topics(line.prefix).changes)
    changes = [decode_change(each) for each in values]
    return {
        each.activity_id: each.time
        for each in changes
        if isinstance(each.data, ActivityChanged) and each.data.state == "ended"
    }


async def end(line: Line, wechat: Standin, activities: int) -> int:
    """Open them all, let them end, wait for the last call; the second in which they end, µs."""
    await line.start("lifecycle", "clock", "dispatcher")
    deadline = (now() // SECOND + 4 + activities // 1_000) * SECOND
    life = {"deadline": format_rfc3339(deadline), "notice": 0}
    records = [events.opened(events.name(each), APPID, **life) for each in range(activities)]
    await events.produce(line.kafka, Topics(line.prefix).events, records)
    await line.applied(activities)
    if now() > deadline - SECOND:
        raise SystemExit("the machine is too slow: the activities were not open in time")
    await asyncio.sleep((deadline - now()) / SECOND)

    async def told() -> bool:
        await wechat.look()
        return len({each.activity_id for each in wechat.told if each.state == ENDED}) >= activities

    await until(line.services, told, "every end is told")
    await line.published()
    return deadline


async def measure(engines: Engines, options: Options) -> None:
    """The ends, then bare aiohttp."""
    async with standin(WAIT) as wechat:
        async with a_line(engines, "ends", wechat) as line:
            deadline = await end(line, wechat, options.activities)
            known = sorted(time - deadline for time in (await ended(line)).values())
        calls = sorted(each.at - deadline for each in wechat.told if each.state == ENDED)
        rate = (await bare(wechat, options.calls)).rate
    least = options.activities / rate
    middle, last = calls[len(calls) // 2] / SECOND, calls[-1] / SECOND
    print(
        f"  {options.activities:,} activities end in one second; "
        f"the clock has ended all {known[-1] / SECOND:.2f} s after it"
    )
    print(
        f"  {len(calls):,} calls tell it: the first {calls[0] / SECOND:.2f} s, the middle {middle:.2f} s, "
        f"the last {last:.2f} s after it"
    )
    print(f"  bare aiohttp makes {rate:,.0f} calls/s and would need {least:.2f} s; ratio {last / least:.2f}")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
