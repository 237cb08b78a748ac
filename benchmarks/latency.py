"""Event → call in an open loop: how long a completion takes to reach WeChat while they come at a fixed rate.

`python -m benchmarks.latency [--rates 50,200,1000] [--seconds S]`: lifecycle and dispatcher run; each event
is the first completion of an activity of its own, so that nothing waits to be told together. Meanwhile the
same records reach a bare aiokafka consumer of the same topic: Kafka's own round trip under the same load.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import accumulate

from aiokafka import AIOKafkaConsumer

from benchmarks import events
from benchmarks.dispatch import WAIT
from benchmarks.report import command_line, option, percentiles, table
from benchmarks.stage import APPID, Engines, Line, a_line, until
from benchmarks.wechat import Standin, now, standin
from contracts.topics import Topics


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    rates: str = option("50,200,1000", "events/s, one after the other")
    seconds: float = option(8.0, "how long each rate is kept up")


async def listen(consumer: AIOKafkaConsumer, arrived: dict[str, int]) -> None:
    """Note when each record came."""
    async for record in consumer:
        arrived[record.key.decode()] = now()


async def send(line: Line, rate: int, activities: range) -> dict[str, int]:
    """One completion after the other at their times, whatever becomes of them; when each was sent, µs."""
    loop, topic, sent = asyncio.get_running_loop(), Topics(line.prefix).events, {}
    async with events.producing(line.kafka) as producer:
        await producer.partitions_for(topic)
        begin = loop.time()
        for place, number in enumerate(activities):
            await asyncio.sleep(begin + place / rate - loop.time())
            key, value = events.completed(events.name(number))
            sent[key] = now()
            await producer.send(topic, value, key=key.encode())
    return sent


async def measured(line: Line, wechat: Standin, rate: int, activities: range) -> list[str]:
    """One rate: a row of the table."""
    arrived: dict[str, int] = {}
    await wechat.look()
    before = len(wechat.told)
    async with events.consuming(line.kafka, Topics(line.prefix).events, from_start=False) as consumer:
        listening = asyncio.create_task(listen(consumer, arrived))
        sent = await send(line, rate, activities)

        async def told() -> bool:
            await wechat.look()
            return len({each.activity_id for each in wechat.told[before:]}) >= len(sent) == len(arrived)

        await until(line.services, told, "every completion is told")
        listening.cancel()
    called = {each.activity_id: each.at for each in reversed(wechat.told[before:])}
    ours = percentiles([(called[key] - at) / 1000 for key, at in sent.items()])
    kafka = percentiles([(arrived[key] - at) / 1000 for key, at in sent.items()])
    numbers = [*ours, *kafka, ours[1] / kafka[1]]
    return [f"{rate:,}", f"{len(sent):,}", *(f"{each:,.1f}" for each in numbers)]


async def measure(engines: Engines, options: Options) -> None:
    """Every rate on one line."""
    rates = [int(each) for each in options.rates.split(",")]
    counts = [max(1, round(each * options.seconds)) for each in rates]
    async with standin(WAIT) as wechat, a_line(engines, "latency", wechat) as line:
        await line.start("lifecycle", "dispatcher")
        records = [events.opened(events.name(each), APPID) for each in range(sum(counts))]
        await events.produce(line.kafka, Topics(line.prefix).events, records)
        await line.applied(len(records))
        await line.published()
        await line.database.vacuum()
        ends = list(accumulate(counts))
        parts = [range(end - count, end) for end, count in zip(ends, counts, strict=True)]
        rows = [await measured(line, wechat, *each) for each in zip(rates, parts, strict=True)]
    titles = [
        "events/s",
        "events",
        "to the call: median ms",
        "p99",
        "Kafka's round trip: median",
        "p99",
        "p99 ÷ p99",
    ]
    table(titles, rows)


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
