"""A burst of 500 completions on one activity, closed in its midst: calls made, and how soon the end is told.

`python -m benchmarks.burst [--rounds N] [--people N]` runs lifecycle, clock and dispatcher; WeChat answers
after 20 ms. "Known" is when the lifecycle read the clock under the activity's lock, as it published it;
"told" is when the call for the end arrived: both on this machine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks import events
from benchmarks.dispatch import WAIT
from benchmarks.ends import ENDED, ended
from benchmarks.report import command_line, option
from benchmarks.stage import APPID, Engines, Line, a_line, until
from benchmarks.wechat import Standin, Told, standin
from contracts.topics import Topics


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    rounds: int = option(10, "bursts, one after the other")
    people: int = option(500, "completions of a burst")


async def burst(line: Line, wechat: Standin, name: str, people: list[str]) -> list[Told]:
    """One activity: the calls that were made for it."""
    topic = Topics(line.prefix).events

    def calls() -> list[Told]:
        return [each for each in wechat.told if each.activity_id == name]

    async def under_way() -> bool:
        await wechat.look()
        return sum(each.members for each in calls()) >= len(people) // 5

    async def over() -> bool:
        await wechat.look()
        return any(each.state == ENDED for each in calls())

    opening = events.opened(name, APPID, choose="listed", participants=people)
    await events.produce(line.kafka, topic, [opening, *(events.completed(name, each) for each in people)])
    await until(line.services, under_way, "the burst is under way")
    await events.produce(line.kafka, topic, [events.closed(name)])
    await until(line.services, over, "the end is told")
    if (told := sum(each.members for each in calls())) != len(people):
        raise SystemExit(f"{told} of {len(people)} members were told")
    return calls()


async def measure(engines: Engines, options: Options) -> None:
    """Several bursts on one line."""
    people = [f"member-{place:03}" for place in range(options.people)]
    async with standin(WAIT) as wechat, a_line(engines, "burst", wechat) as line:
        await line.start("lifecycle", "clock", "dispatcher")
        bursts = [await burst(line, wechat, events.name(each), people) for each in range(options.rounds)]
        await line.published()
        known = await ended(line)
    counts = [len(calls) for calls in bursts]
    waits = [
        next(each.at - known[each.activity_id] for each in calls if each.state == ENDED) / 1000
        for calls in bursts
    ]
    print(f"  {options.rounds} bursts of {options.people} completions, each closed in its midst")
    print(f"  calls a burst: {min(counts)} to {max(counts)}, median {median(counts):g}")
    print(f"  end told after it was known: median {median(waits):,.0f} ms, longest {max(waits):,.0f} ms")


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
