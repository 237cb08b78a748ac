"""Many schedules: in forked chunks, side by side; what they found and what truly struck."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.verification.sim.forks import fork, forked, reap
from tests.verification.sim.hosts import SEATS
from tests.verification.sim.seats import Seats
from tests.verification.sim.tape import pack, shrink, unpack
from tests.verification.sim.weather import EVENTS, LEAP, OTHERS, PORTS, SPELLS
from tests.verification.sim.world import World

CHUNK: Final = {"dict": 250, "sqlite": 150}
"""Schedules per forked process: what is dead stays in its memory."""
SHRINKING: Final = 15.0
"""Seconds for making a failure smaller."""
ENOUGH: Final = 5000
"""Schedules in which every kind of fault must have struck."""
PROGRESS: Final = 30.0
"""Seconds between two lines of a log."""
ALL_FAULTS: Final = tuple(
    dict.fromkeys([name for names in PORTS.values() for name in names] + [*SPELLS, *EVENTS, *OTHERS])
)


@dataclass(frozen=True)
class Plan:
    """What to run."""

    seed: int
    profile: str = "mixed"
    store: str = "dict"
    schedules: int | None = None
    seconds: float | None = None
    workers: int = os.cpu_count() or 1
    keep_going: bool = False
    log: Path | None = None
    chunk: int = 0


@dataclass
class Result:
    """What one schedule came to; `choices` only when something was found."""

    seed: int
    digest: str
    found: str = ""
    choices: list[int] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Bench:
    """Runs single schedules; on SQLite each gets a copy of one migrated database."""

    def __init__(self, store: str) -> None:
        self.folder: Path | None = None
        self.seats: Seats | None = None
        if store == "sqlite":
            shm = Path("/dev/shm")  # memory-backed where there is such a thing
            self.folder = Path(tempfile.mkdtemp(prefix="livecard-sim-", dir=shm if shm.is_dir() else None))
            self.seats = Seats(self.folder, SEATS)

    def run(
        self,
        seed: int,
        profile: str,
        choices: Sequence[int] | None = None,
        *,
        story: bool = False,
        digest: bool = False,
        written: bool = False,
    ) -> Result:
        """One schedule, in this process: it is changed for good, so fork it."""
        world = World(seed, profile, choices, self.seats, story=story, digest=digest, written=written)
        world.run()
        found = str(world.broken) if world.broken else ""
        drawn = world.tape.drawn
        counts = Counter(
            steps=world.loop.steps,
            events=len(world.events),
            commits=world.judges.commits,
            calls=len(world.judges.calls),
            faults=world.struck.total(),
            processes=world.hosts.births,
        )
        seconds = world.loop.time() - (LEAP if world.struck["leap"] else 0.0)
        return Result(seed, world.digest, found, drawn, world.struck, seconds, world.lines or [], counts)

    def tidy(self, pid: int) -> None:
        """A forked process is over."""
        if self.seats is not None:
            self.seats.tidy(pid)

    def close(self) -> None:
        """Remove the databases."""
        if self.folder is not None:
            for path in self.folder.iterdir():
                path.unlink(missing_ok=True)
            self.folder.rmdir()


class Campaign:
    """Runs a plan, side by side, and tells what came of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.bench = plan, Bench(plan.store)
        self.done, self.virtual, self.cpu = 0, 0.0, 0.0
        self.struck: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._told = 0.0
        self.failures: list[Result] = []

    def run(self) -> int:
        """0 when nothing was found."""
        began = time.monotonic()
        try:
            self._look(began)
            self._tell(time.monotonic() - began)
            if self.failures:
                self._explain(min(self.failures, key=lambda each: each.seed))
        finally:
            self.bench.close()
        return 1 if self.failures else 0

    def search(self) -> None:
        """As `run`, without a word."""
        try:
            self._look(time.monotonic())
        finally:
            self.bench.close()

    def _look(self, began: float) -> None:
        for results, cpu in self._chunks(began):
            self.cpu += cpu
            for result in results:
                self._take(result)
            self._progress(time.monotonic() - began)
            if self.failures and not self.plan.keep_going:
                break

    def _take(self, result: Result) -> None:
        self.done += 1
        self.virtual += result.seconds
        self.counts.update(result.counts)
        self.struck.update(result.struck)
        if result.found:
            self.failures.append(result)
            print(f"seed {result.seed}: {result.found}")

    def _chunks(self, began: float) -> Iterator[tuple[list[Result], float]]:
        """Results of each chunk; as many chunks at once as there are workers."""
        plan, size = self.plan, self.plan.chunk or CHUNK[self.plan.store]
        seed = plan.seed
        last = None if plan.schedules is None else plan.seed + plan.schedules
        running: list[tuple[int, int]] = []
        while True:
            late = plan.seconds is not None and time.monotonic() - began >= plan.seconds
            while len(running) < plan.workers and not late and (last is None or seed < last):
                end = seed + size if last is None else min(seed + size, last)
                deadline = None if plan.seconds is None else began + plan.seconds
                running.append(fork(partial(self._several, seed, end, deadline)))
                seed = end
            if not running:
                return
            child = running.pop(0)
            results = reap(*child)
            self.bench.tidy(child[0])
            try:
                yield results
            except GeneratorExit:
                for child in running:
                    reap(*child)
                raise

    def _several(self, first: int, end: int, deadline: float | None) -> tuple[list[Result], float]:
        """The results of a chunk, and the seconds of processor time that it took."""
        results = []
        for seed in range(first, end):
            results.append(self.bench.run(seed, self.plan.profile))
            if deadline is not None and time.monotonic() > deadline:
                break
        return results, time.process_time()

    def _progress(self, took: float) -> None:
        """For a run of hours: a line of JSON now and then, of which the last tells the whole part."""
        plan = self.plan
        if plan.log is None or took - self._told < PROGRESS:
            return
        self._told = took
        self._log(took)

    def _log(self, took: float) -> None:
        if self.plan.log is None:
            return
        part = {
            "first_seed": self.plan.seed,
            "next_seed": self.plan.seed + self.done,
            "store": self.plan.store,
            "profile": self.plan.profile,
            "schedules": self.done,
            "failed": [failure.seed for failure in self.failures],
            "wall_seconds": round(took, 1),
            "cpu_seconds": round(self.cpu, 1),
            "counts": dict(self.counts),
            "struck": dict(self.struck),
        }
        with self.plan.log.open("a") as log:
            log.write(json.dumps(part) + "\n")

    def _tell(self, took: float) -> None:
        self._log(took)
        plan, done = self.plan, max(1, self.done)
        print(
            f"{self.done} schedules on {plan.store}, profile {plan.profile}, seeds from {plan.seed}: "
            f"{len(self.failures)} failed; {took:.1f} s, {self.done / max(took, 1e-9):.0f}/s; "
            f"{self.cpu:.1f} s of processor time, {self.done / max(self.cpu, 1e-9):.0f} in each"
        )
        means = ", ".join(f"{count / done:.1f} {name}" for name, count in sorted(self.counts.items()))
        print(f"each: {self.virtual / done:.0f} virtual seconds, {means}")
        told = ", ".join(f"{name} {self.struck[name]}" for name in ALL_FAULTS if self.struck[name])
        print(f"struck: {told}")
        silent = [name for name in ALL_FAULTS if not self.struck[name]]
        if silent and plan.profile == "mixed":
            loud = "NEVER STRUCK, so nothing is known of them: " if self.done >= ENOUGH else "never struck: "
            print(loud + ", ".join(silent))

    def _explain(self, failure: Result) -> None:
        """Shrink it, tell its story, and say how to see it again."""
        plan = self.plan

        def fails(choices: Sequence[int]) -> bool:
            return bool(self.bench.run(failure.seed, plan.profile, choices).found)

        until = time.monotonic() + SHRINKING
        again: Result = forked(lambda: self.bench.run(failure.seed, plan.profile, written=True))
        kept, tries = forked(lambda: shrink(again.choices, fails, lambda: time.monotonic() < until))
        story = forked(lambda: self.bench.run(failure.seed, plan.profile, kept, story=True))
        marks = sum(map(bool, again.choices)), sum(map(bool, kept))
        print(f"\nseed {failure.seed}: {failure.found}")
        print(f"shrunk in {tries} runs from {marks[0]} to {marks[1]} choices that are not harmless:")
        print("\n".join(telling(story.lines)))
        where = "python -m tests.verification.sim"
        where += f" --seed {failure.seed} --profile {plan.profile} --store {plan.store}"
        print(f"\nagain:  {where} --story")
        print(f"shrunk: {where} --tape {pack(kept)}")


def telling(lines: Sequence[str]) -> list[str]:
    """The story without commits in which nothing happened."""
    return [line for line in lines if not line.endswith(" commits")]


def replay(seed: int, profile: str, store: str, tape: str | None) -> int:
    """Tell one schedule, as drawn from its seed or from a tape."""
    bench = Bench(store)
    try:
        choices = None if tape is None else unpack(tape)
        result: Result = forked(lambda: bench.run(seed, profile, choices, story=True))
    finally:
        bench.close()
    print("\n".join(telling(result.lines)))
    print(f"digest {result.digest}; " + (f"found: {result.found}" if result.found else "nothing found"))
    return 1 if result.found else 0
