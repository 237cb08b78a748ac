"""One run of the inbound fuzzer: a real lifecycle process, everything sent, everything judged."""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import asyncpg

from contracts.topics import Topics
from services.runtime.settings import Settings
from tests.e2e.line import Line, Service, a_line, now, until
from tests.verification.fuzz.evidence import Evidence, collect
from tests.verification.fuzz.feed import Feeder, read_up_to
from tests.verification.fuzz.judge import Verdict, judge
from tests.verification.fuzz.makings import PARTITIONS
from tests.verification.fuzz.mix import Mix

WARM: Final = 10_000
"""Records after which the memory of the process is what it should stay."""
GROWTH: Final = 1.2
"""What the memory at the end may be, as a multiple of that."""
Tell = Callable[[str], None]


@dataclass
class Memory:
    """Resident, in MiB: after the first `WARM` records, at the worst moment, at the end.

    `course`: each second of the run after those records.
    """

    warm: float
    peak: float
    end: float
    course: list[float]

    def tenths(self) -> list[float]:
        """The medians of ten parts of the run, one after the other."""
        size = len(self.course) / 10
        parts = [self.course[round(n * size) : round((n + 1) * size)] for n in range(10)]
        return [statistics.median(part) for part in parts if part]


@dataclass
class Outcome:
    """What a run came to; `seconds` are those of sending and reading, `code` is the process's exit code."""

    seed: int
    verdict: Verdict
    evidence: Evidence
    memory: Memory
    seconds: float
    bytes: int
    log: int
    code: int

    @property
    def wrong(self) -> list[str]:
        """Everything that fails the run."""
        found = list(self.verdict.wrong)
        if self.code:
            found.append(f"the lifecycle left with {self.code}")
        if self.verdict.records > 2 * WARM and self.memory.end > GROWTH * self.memory.warm:
            found.append(f"memory has grown from {self.memory.warm:.1f} to {self.memory.end:.1f} MiB")
        return found


def resident(service: Service, what: str = "VmRSS") -> float:
    """MiB of a process; `VmHWM` is its peak."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


async def fuzz(
    kafka: str, database: str, prefix: str, records: int, seed: int, *, tell: Tell = print
) -> Outcome:
    """Send so many records of this seed to a lifecycle of its own, and judge what came of them."""
    with tempfile.TemporaryDirectory(prefix="livecard-fuzz-") as folder:
        async with a_line(kafka, database, prefix, Path(folder)) as line:
            return await _fuzz(line, records, seed, tell)


async def _fuzz(line: Line, records: int, seed: int, tell: Tell) -> Outcome:
    loop, topics, begin = asyncio.get_running_loop(), Topics(line.prefix), now()
    (lifecycle,) = await line.start("lifecycle")
    feeder, course = Feeder(line.kafka, topics.events, seed), list[float]()
    await feeder.start()
    try:
        stream, started = Mix(seed, begin).records(), loop.time()
        first = min(WARM, records)
        await feeder.send(stream, first)
        await read_up_to(line.kafka, topics.lifecycle_group, topics.events, first)
        warm = resident(lifecycle)
        tell(f"seed {seed}: {first} records read, {warm:.1f} MiB resident")
        watching = asyncio.create_task(_watched(lifecycle, course))
        await feeder.send(stream, records - first)
        tell(f"{records} records ({feeder.bytes >> 20} MiB) sent in {loop.time() - started:.0f} s")
        await read_up_to(line.kafka, topics.lifecycle_group, topics.events, records)
        watching.cancel()
    finally:
        await feeder.stop()
    seconds = loop.time() - started
    await _relayed(line)
    memory = Memory(warm, resident(lifecycle, "VmHWM"), resident(lifecycle), course)
    tell(f"{records} records read in {seconds:.0f} s; reading back what came of them")
    code = await lifecycle.terminate()
    evidence = Evidence(begin, now(), Settings().us("expiry_margin"), topics.events)
    if sum(feeder.ends) != records or len(feeder.ends) != PARTITIONS:
        evidence.problems.append(f"{feeder.ends} were sent, not {records}")
    await collect(line, evidence)
    verdict = judge(islice(Mix(seed, begin).records(), records), evidence)
    size = lifecycle.log.stat().st_size
    return Outcome(seed, verdict, evidence, memory, seconds, feeder.bytes, size, code)


async def _watched(service: Service, course: list[float]) -> None:
    while True:
        course.append(resident(service))
        await asyncio.sleep(1)


async def _relayed(line: Line) -> None:
    """Wait until the outbox is empty."""
    connection = await asyncpg.connect(line.database.replace("+asyncpg", ""))

    async def empty() -> bool:
        return not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM outbox)")

    try:
        await until(empty, "every change is published", 300)
    finally:
        await connection.close()


def report(outcome: Outcome) -> list[str]:
    """Figures for people; what is wrong comes last."""
    verdict, memory = outcome.verdict, outcome.memory
    size, rate = f"{outcome.bytes / 1e6:.0f} MB", verdict.records / outcome.seconds
    sent = f"{verdict.records} records, {size}, {verdict.activities} activities"
    warm = f"{memory.warm:.1f} MiB after the first {min(WARM, verdict.records)} records"
    end = f"{memory.end:.1f} MiB at the end ({memory.end / memory.warm - 1:+.1%})"
    tenths = " ".join(f"{each:.0f}" for each in memory.tenths())
    lines = [
        f"{sent} in {outcome.seconds:.0f} s: {rate:.0f} records/s",
        "",
        "by kind:",
        *(f"  {count:>9}  {kind}" for kind, count in verdict.kinds.most_common()),
        "",
        "by fate:",
        *(f"  {count:>9}  {fate}" for fate, count in verdict.fates.most_common()),
        f"  {sum(verdict.fates.values()):>9}  accounted for, of {verdict.records}",
        "",
        f"resident memory: {warm}, {memory.peak:.1f} MiB at its peak, {end};",
        f"  the medians of ten parts of the time in between: {tenths} MiB; {outcome.log >> 10} KiB of logs",
    ]
    if outcome.wrong:
        lines += ["", f"WRONG ({verdict.blamed}):", *outcome.wrong]
        lines += [
            "",
            f"again: python -m tests.verification.fuzz --records {verdict.records} --seed {outcome.seed}",
        ]
    else:
        lines.append(f"seed {outcome.seed}: everything is accounted for, and as it should be")
    return lines
