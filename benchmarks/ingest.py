"""How fast one lifecycle process takes completions in, next to a bare loop over the same SQL.

`python -m benchmarks.ingest [--events N] [--activities N] [--batch N]` fills the topic and times each
competitor alone: from the first completion taken in to the last.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks import events
from benchmarks.report import command_line, option
from benchmarks.stage import APPID, Engines, Line, Process, a_line
from contracts.topics import Topics

COMPLETIONS = "completions"
"""The topic of the bare loop, after the line's prefix."""


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    events: int = option(200_000, "completions")
    activities: int = option(10_000, "activities that they are spread over")
    batch: int = option(2_000, "most events in one transaction")


class Taken(NamedTuple):
    """How fast completions were taken in, and what was not published when the last one was."""

    rate: float
    unpublished: int
    published_after: float


def openings(activities: int) -> list[events.Record]:
    """Every activity is opened for everyone."""
    return [events.opened(events.name(place), APPID) for place in range(activities)]


def completions(total: int, activities: int) -> list[events.Record]:
    """Round and round over all activities, each time by another member."""
    return [
        events.completed(events.name(place % activities), f"member-{place // activities:06}")
        for place in range(total)
    ]


async def take_in(line: Line, before: int, until: int) -> Taken:
    """Run a lifecycle process until `until` events are applied; the rate from `before` on."""
    lifecycle = await line.start("lifecycle")
    first_count = await line.applied(max(before, 1))
    first = time.perf_counter()
    await line.applied(until)
    rate = (until - first_count) / (time.perf_counter() - first)
    left, began = await line.database.unpublished(), time.perf_counter()
    await line.published()
    taken = Taken(rate, left, time.perf_counter() - began)
    await line.end(*lifecycle)  # its sessions tell what they did when they end
    return taken


async def ours(engines: Engines, options: Options) -> tuple[Taken, tuple[int, int]]:
    """Our lifecycle; also how many rows of `activities` it updated, how many without touching an index."""
    async with a_line(engines, "ingest", batch=options.batch) as line:
        records = [*openings(options.activities), *completions(options.events, options.activities)]
        await events.produce(engines.kafka, Topics(line.prefix).events, records)
        taken = await take_in(line, options.activities, len(records))
        return taken, await line.database.updates()


async def bare(engines: Engines, options: Options) -> float:
    """The bare loop, which knows completions only: livecard opens its activities beforehand."""
    async with a_line(engines, "bare") as line:
        await events.produce(engines.kafka, Topics(line.prefix).events, openings(options.activities))
        await take_in(line, 0, options.activities)
        topic = f"{line.prefix}{COMPLETIONS}"
        await events.make_topic(engines.kafka, topic)
        await events.produce(engines.kafka, topic, completions(options.events, options.activities))
        arguments = [engines.kafka, line.database.dsn, topic, str(options.events), str(options.batch)]
        log = line.folder / "bare.log"
        await (await Process([sys.executable, "-m", "benchmarks.bare_loop", *arguments], log).start()).done()
        return float(json.loads(log.read_text("utf-8").splitlines()[-1])["rate"])


async def measure(engines: Engines, options: Options) -> None:
    """Both, one after the other."""
    taken, (updated, heap_only) = await ours(engines, options)
    peer = await bare(engines, options)
    print(
        f"  {options.events:,} completions over {options.activities:,} activities, "
        f"batches of {options.batch:,}"
    )
    print(f"  livecard lifecycle {taken.rate:,.0f} completions/s, bare loop {peer:,.0f}/s")
    print(f"  ratio {taken.rate / peer:.2f}")
    print(f"  {updated:,} updates of activities, {heap_only / max(updated, 1):.0%} of them heap-only")
    print(
        f"  when the last was in, {taken.unpublished:,} changes were not published yet; "
        f"they were {taken.published_after:.1f} s later"
    )


if __name__ == "__main__":
    command_line(__doc__, Options, measure)
