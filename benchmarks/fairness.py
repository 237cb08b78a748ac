"""One app has 100,000 cards behind: how long do the ends of another app's activities wait to be told?

`python -m benchmarks.fairness [--cards N] [--behind nothing,news,ends,due,gated]`: lifecycle, clock and one
dispatcher run; WeChat answers after 20 ms. Activities of the other app end one after the other, in turn by
their deadline and closed by their publisher. An end's delay is from the deadline, or from the moment at which
`closed` is handed to Kafka, to the call's arrival. What the first app has behind: `nothing`, `news`, `ends`,
ends that a clock has yet to find, all of the same second (`due`), or news behind a closed gate (`gated`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from benchmarks import events
from benchmarks.dispatch import WAIT
from benchmarks.ends import ENDED
from benchmarks.report import command_line, option, percentiles, table
from benchmarks.stage import APPID, LIVECARD, Engines, Line, Process, a_line, until
from benchmarks.wechat import Standin, now, standin
from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics

OTHER = "wxother"
COPIED = "copied"


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    cards: int = option(100_000, "cards of the first app that are behind")
    behind: str = option("nothing,news,ends,due,gated", "what they owe, one after the other")
    ends: int = option(200, "activities of the other app that end")
    rate: float = option(20.0, "ends/s")
    ahead: float = option(3.0, "seconds from the other app's openings to its first end")


class Seen(NamedTuple):
    """µs from each end to its call; calls/s for the first app meanwhile; those still behind at the end."""

    deadlines: list[int]
    closings: list[int]
    rate: float
    left: int


async def fall_behind(line: Line, what: str, count: int) -> int:
    """Cards of the first app, made by copying one within the database; no dispatcher runs yet. Until when
    nothing may end, µs."""
    if what == "nothing":
        return 0
    due = now() + round((5 + count / 10_000) * SECOND)
    life = {"deadline": format_rfc3339(due), "notice": 0} if what == "due" else {}
    opening, last = events.opened(COPIED, APPID, **life), events.completed(COPIED)
    records = [opening, events.closed(COPIED)] if what == "ends" else [opening] if life else [opening, last]
    await events.produce(line.kafka, Topics(line.prefix).events, records)
    await line.applied(len(records))
    await line.published()
    await line.database.multiply(COPIED, count)
    if what == "gated":
        command = (LIVECARD, "gates", "--close", APPID, "--until", "1h", "--why", "a benchmark")
        await (await Process(command, line.folder / "gates.log", line.env).start()).done()
    return due if life else 0


async def end_all(line: Line, first: int, options: Options) -> tuple[dict[str, int], dict[str, int]]:
    """The other app's activities end at their times: when each one did, µs; by deadline, and closed."""
    topic, first = Topics(line.prefix).events, max(first, now() + round(options.ahead * SECOND))
    at = {f"other-{place:05}": first + round(place * SECOND / options.rate) for place in range(options.ends)}
    names = list(at)
    deadlines = {name: at[name] for name in names[::2]}
    timed = [
        events.opened(name, OTHER, deadline=format_rfc3339(due), notice=0) for name, due in deadlines.items()
    ]
    before = await line.database.applied()
    await events.produce(line.kafka, topic, timed + [events.opened(name, OTHER) for name in names[1::2]])
    await line.applied(before + options.ends)
    if now() > first:
        raise SystemExit("the machine is too slow: the first end was due before all were open; more --ahead")
    closings = {}
    async with events.producing(line.kafka) as producer:
        await producer.partitions_for(topic)
        for name in names[1::2]:
            await asyncio.sleep((at[name] - now()) / SECOND)
            key, value = events.closed(name)
            closings[name] = now()
            await producer.send(topic, value, key=key.encode())
    return deadlines, closings


async def seen(engines: Engines, wechat: Standin, what: str, options: Options) -> Seen:
    """One thing that is behind, on a line of its own."""
    apps = msgspec.json.encode({APPID: "secret", OTHER: "secret"}).decode()
    async with a_line(engines, "fairness", wechat, apps=apps) as line:
        await line.start("lifecycle", "clock")
        first = await fall_behind(line, what, options.cards)
        await wechat.look()
        place = len(wechat.told)
        await line.start("dispatcher")
        deadlines, closings = await end_all(line, first, options)

        def told() -> dict[str, int]:
            calls = wechat.told[place:]
            return {each.activity_id: each.at for each in calls if each.activity_id.startswith("other-")}

        async def all_told() -> bool:
            await wechat.look()
            return len(told()) >= options.ends

        await until(line.services, all_told, "every end is told", 0.2)
        if any(each.state != ENDED for each in wechat.told[place:] if each.activity_id in closings):
            raise SystemExit("a call for the other app was no end")
        calls = told()
    meanwhile = range(min(calls.values()), max(calls.values()))
    others = [each.at for each in wechat.told[place:] if each.activity_id.startswith("activity-")]
    rate = sum(at in meanwhile for at in others) / max(len(meanwhile) / SECOND, 1e-6)
    left = 0 if what == "nothing" else options.cards - len(others)
    return Seen(_delays(calls, deadlines), _delays(calls, closings), rate, left)


def _delays(calls: dict[str, int], ends: dict[str, int]) -> list[int]:
    return [calls[name] - at for name, at in ends.items()]


def row(what: str, got: Seen, options: Options) -> list[str]:
    """A row of the table."""
    numbers = [f"{each / 1000:,.0f}" for part in got[:2] for each in (*percentiles(part), max(part))]
    behind = what if what == "nothing" else f"{options.cards:,} {what}"
    return [behind, *numbers, f"{got.rate:,.0f}", f"{got.left:,}"]


async def measure(engines: Engines, options: Options) -> None:
    """One after the other."""
    async with standin(WAIT) as wechat:
        found = {what: await seen(engines, wechat, what, options) for what in options.behind.split(",")}
    print(f"  {options.ends:,} ends of the other app at {options.rate:g}/s; delays in ms")
    delays = ["median", "p99", "longest"]
    titles = ["behind", f"deadline: {delays[0]}", *delays[1:], f"closed: {delays[0]}", *delays[1:]]
    table([*titles, "calls/s for it", "left"], [row(what, got, options) for what, got in found.items()])


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
