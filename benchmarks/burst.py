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


def told_after(calls: list[Told], known: int) -> float:
    """How long after it was known the end was told, ms."""
    return next(each.at - known for each in calls if each.state == ENDED) / 1000


def answered_before(calls: list[Told], known: int) -> float:
    """For how long, since the end was known, WeChat was answering the calls ahead of it, ms: no two calls of
    a card are in flight at once, and members owed go before the end."""
    wait = WAIT * 1e6
    ahead = [each.at + wait - max(each.at, known) for each in calls if each.state != ENDED]
    return sum(max(each, 0) for each in ahead) / 1000


async def measure(engines: Engines, options: Options) -> None:
    """Several bursts on one line."""
    people = [f"member-{place:03}" for place in range(options.people)]
    async with standin(WAIT) as wechat, a_line(engines, "burst", wechat) as line:
        await line.start("lifecycle", "clock", "dispatcher")
        bursts = [await burst(line, wechat, events.name(each), people) for each in range(options.rounds)]
        await line.published()
        known = await ended(line)
    counts = [len(calls) for calls in bursts]
    waits = [told_after(calls, known[calls[0].activity_id]) for calls in bursts]
    answering = [answered_before(calls, known[calls[0].activity_id]) for calls in bursts]
    print(f"  {options.rounds} bursts of {options.people} completions, each closed in its midst")
    print(f"  calls a burst: {min(counts)} to {max(counts)}, median {median(counts):g}")
    print(f"  end told after it was known: median {median(waits):,.0f} ms, longest {max(waits):,.0f} ms")
    print(
        f"  of which WeChat was answering calls for members, who go first: median {median(answering):,.0f} ms"
    )


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
