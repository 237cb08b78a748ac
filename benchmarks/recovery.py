"""A dispatcher is killed while it has calls in flight: how long until the last of its cards is right.

`python -m benchmarks.recovery [--cards N] [--lease S]`: two dispatchers share the cards, WeChat answers after
a second, one dispatcher gets kill -9. What it had in flight comes to nothing: the other one may take these
cards when their lease is over. A card is right by the arrival of the first call whose answer somebody heard.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from benchmarks import events
from benchmarks.report import command_line, option
from benchmarks.stage import APPID, Engines, a_line, until
from benchmarks.wechat import now, standin
from contracts.times import SECOND
from contracts.topics import Topics


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    cards: int = option(500, "cards that are undelivered at the kill")
    lease: float = option(30.0, "LIVECARD_LEASE, seconds")
    in_flight: int = option(64, "most calls in flight of a dispatcher")
    wait: float = option(1.0, "seconds until WeChat answers")


async def measure(engines: Engines, options: Options) -> None:
    """One kill."""
    settings = {
        "lease": options.lease,
        "call_deadline": options.lease / 3,
        "in_flight": options.in_flight,
    }
    async with standin(options.wait) as wechat, a_line(engines, "recovery", wechat, **settings) as line:
        victim, *_ = await line.start("dispatcher", "dispatcher", "lifecycle")
        names = [events.name(each) for each in range(options.cards)]
        records = [
            record for each in names for record in (events.opened(each, APPID), events.completed(each))
        ]
        await events.produce(engines.kafka, Topics(line.prefix).events, records)

        async def both_are_busy() -> bool:
            return (await wechat.look()).in_flight >= 1.5 * options.in_flight

        await until(line.services, both_are_busy, "both dispatchers have calls in flight")
        killed = now()
        line.services.remove(victim)
        await victim.end(signal.SIGKILL)

        async def right() -> bool:
            await wechat.look()
            return len({each.activity_id for each in wechat.told}) >= options.cards

        await until(line.services, right, "every card is right")
        if not (lost := (await wechat.look()).lost):
            raise SystemExit("the killed dispatcher had nothing in flight: nothing is shown")
    first = {each.activity_id: each.at for each in sorted(wechat.told, key=lambda each: -each.at)}
    last = (max(first.values()) - killed) / SECOND
    print(
        f"  {options.cards} cards, lease {options.lease:g} s; "
        f"the killed dispatcher had {lost} calls in flight"
    )
    print(
        f"  the last card was right {last:.1f} s after the kill: the lease and {last - options.lease:+.1f} s"
    )


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
