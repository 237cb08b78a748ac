"""Many schedules: in forked chunks that end by `os._exit`, so that no dead coroutine is ever collected."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.sim.hosts import SLOTS
from tests.sim.lanes import Seats
from tests.sim.tape import shrink
from tests.sim.weather import EVENTS, PORTS, SPELLS
from tests.sim.world import World, prepare

CHUNK: Final = {"dict": 100, "sqlite": 20}
"""Schedules per forked process: what is dead stays in its memory."""
SHRINKING: Final = 15.0
"""Seconds for making a failure smaller."""
ALL_FAULTS: Final = tuple(
    dict.fromkeys([name for names in PORTS.values() for name in names] + [*SPELLS, *EVENTS])
)


@dataclass(frozen=True)
class Plan:
    """What to run."""

    seed: int
    profile: str = "mixed"
    store: str = "dict"
    schedules: int | None = None
    seconds: float | None = None
    workers: int = 2
    keep_going: bool = False


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
    drawn: int = 0


class Bench:
    """Runs single schedules; on SQLite each gets a copy of one migrated database."""

    def __init__(self, store: str) -> None:
        self.folder: Path | None = None
        self.seats: Seats | None = None
        if store == "sqlite":
            shm = Path("/dev/shm")  # memory-backed where there is such a thing
            self.folder = Path(tempfile.mkdtemp(prefix="livecard-sim-", dir=shm if shm.is_dir() else None))
            self.seats = Seats(self.folder, len(SLOTS) + 1)

    def run(
        self,
        seed: int,
        profile: str,
        choices: Sequence[int] | None = None,
        *,
        story: bool = False,
        digest: bool = False,
    ) -> Result:
        """One schedule, in this process."""
        database = Path()
        if self.folder is not None:
            database = self.folder / f"run-{os.getpid()}"
            shutil.copyfile(self.folder / "template", database)
        world = World(seed, profile, choices, self.seats, database, story=story, digest=digest)
        world.run()
        if self.folder is not None:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{database}{suffix}").unlink(missing_ok=True)
        found = str(world.broken) if world.broken else ""
        drawn = world.tape.drawn if found else []
        now = world.loop.time()
        lines = world.lines or []
        return Result(seed, world.digest, found, drawn, world.struck, now, lines, len(world.tape.drawn))

    def close(self) -> None:
        """Remove the databases."""
        if self.folder is not None:
            for path in self.folder.iterdir():
                path.unlink(missing_ok=True)
            self.folder.rmdir()


def forked(work: Callable[[], Any]) -> Any:
    """The result of `work` in a process of its own that is never tidied up."""
    pid, pipe = _fork(work)
    return _reap(pid, pipe)


def _fork(work: Callable[[], Any]) -> tuple[int, int]:
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        os.close(reader)
        gc.disable()
        prepare()
        answer = pickle.dumps(work())
        with os.fdopen(writer, "wb") as out:
            out.write(answer)
        status = 0
    except BaseException:  # noqa: BLE001  # this process ends here, whatever it was
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(pid: int, pipe: int) -> Any:
    with os.fdopen(pipe, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    if status or not data:
        raise RuntimeError(f"a chunk of schedules ended with status {status}")
    return pickle.loads(data)  # our own child wrote it


class Campaign:
    """Runs a plan, side by side, and tells what came of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.bench = plan, Bench(plan.store)
        self.done, self.virtual, self.choices = 0, 0.0, 0
        self.struck: Counter[str] = Counter()
        self.failures: list[Result] = []

    def run(self) -> int:
        """0 when nothing was found."""
        began = time.monotonic()
        try:
            for results in self._chunks(began):
                for result in results:
                    self._take(result)
                if self.failures and not self.plan.keep_going:
                    break
            took = time.monotonic() - began
            self._tell(took)
            if self.failures:
                self._explain(min(self.failures, key=lambda each: each.seed))
        finally:
            self.bench.close()
        return 1 if self.failures else 0

    def _take(self, result: Result) -> None:
        self.done += 1
        self.virtual += result.seconds
        self.choices += result.drawn
        self.struck.update(result.struck)
        if result.found:
            self.failures.append(result)
            print(f"seed {result.seed}: {result.found}")

    def _chunks(self, began: float) -> Iterator[list[Result]]:
        """Results of each chunk; as many chunks at once as there are workers."""
        plan, size = self.plan, CHUNK[self.plan.store]
        seed = plan.seed
        last = None if plan.schedules is None else plan.seed + plan.schedules
        running: list[tuple[int, int]] = []
        while True:
            late = plan.seconds is not None and time.monotonic() - began >= plan.seconds
            while len(running) < plan.workers and not late and (last is None or seed < last):
                end = seed + size if last is None else min(seed + size, last)
                deadline = None if plan.seconds is None else began + plan.seconds
                running.append(_fork(partial(self._several, seed, end, deadline)))
                seed = end
            if not running:
                return
            try:
                yield _reap(*running.pop(0))
            except GeneratorExit:
                for child in running:
                    _reap(*child)
                raise

    def _several(self, first: int, end: int, deadline: float | None) -> list[Result]:
        results = []
        for seed in range(first, end):
            results.append(self.bench.run(seed, self.plan.profile))
            if deadline is not None and time.monotonic() > deadline:
                break
        return results

    def _tell(self, took: float) -> None:
        rate = self.done / max(took, 1e-9)
        each = self.virtual / max(1, self.done)
        drawn = self.choices // max(1, self.done)
        print(
            f"{self.done} schedules on {self.plan.store}, profile {self.plan.profile}, seeds from "
            f"{self.plan.seed}: {len(self.failures)} failed; {took:.1f} s, {rate:.0f}/s; each "
            f"{each:.0f} virtual seconds and {drawn} choices"
        )
        print(
            "struck: " + ", ".join(f"{name} {self.struck[name]}" for name in ALL_FAULTS if self.struck[name])
        )
        silent = [name for name in ALL_FAULTS if not self.struck[name]]
        if silent:
            print("never struck: " + ", ".join(silent))

    def _explain(self, failure: Result) -> None:
        """Shrink it, tell its story, and say how to see it again."""
        plan = self.plan

        def fails(choices: Sequence[int]) -> bool:
            return bool(self.bench.run(failure.seed, plan.profile, choices).found)

        until = time.monotonic() + SHRINKING
        kept, tries = forked(lambda: shrink(failure.choices, fails, lambda: time.monotonic() < until))
        story = forked(lambda: self.bench.run(failure.seed, plan.profile, kept, story=True))
        marks = sum(map(bool, failure.choices)), sum(map(bool, kept))
        print(f"\nseed {failure.seed}: {failure.found}")
        print(f"shrunk in {tries} runs from {marks[0]} to {marks[1]} choices that are not harmless:")
        print("\n".join(telling(story.lines)))
        where = f"python -m tests.sim --seed {failure.seed} --profile {plan.profile} --store {plan.store}"
        print(f"\nagain:  {where} --story")
        print(f"shrunk: {where} --tape {pack(kept)}")


def telling(lines: Sequence[str]) -> list[str]:
    """The story without commits in which nothing happened."""
    return [line for line in lines if not line.endswith(" commits")]


def pack(choices: Sequence[int]) -> str:
    """Choices as text: runs of zeros as `_n`, the others as they are."""
    words: list[str] = []
    zeros = 0
    for choice in [*choices, -1]:
        if choice == 0:
            zeros += 1
            continue
        if zeros:
            words.append(f"_{zeros}")
            zeros = 0
        words.append(str(choice))
    return ".".join(words[:-1])


def unpack(text: str) -> list[int]:
    """The inverse of `pack`."""
    choices: list[int] = []
    for word in text.split("."):
        if word.startswith("_"):
            choices += [0] * int(word[1:])
        elif word:
            choices.append(int(word))
    return choices


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
