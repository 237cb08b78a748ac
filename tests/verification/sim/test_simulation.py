"""A few seconds of the simulation, and that it is what it says: seeded, repeatable, able to shrink."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.verification.sim import run
from tests.verification.sim.forks import forked
from tests.verification.sim.run import ALL_FAULTS, Bench, Campaign, Plan, Result
from tests.verification.sim.seeds import FOUND
from tests.verification.sim.tape import pack, shrink, unpack

ROOT = Path(__file__).parents[3]
DIGESTS = """
from tests.verification.sim.forks import forked
from tests.verification.sim.run import Bench
bench = Bench({store!r})
print(*forked(lambda: [bench.run(seed, "mixed", digest=True).digest for seed in {seeds!r}]))
bench.close()
"""


def _digests(store: str, seeds: list[int], hash_seed: str) -> list[str]:
    """What schedules come to in an interpreter of their own."""
    said = subprocess.run(
        [sys.executable, "-c", DIGESTS.format(store=store, seeds=seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.split()


@pytest.mark.parametrize(
    ("profile", "store", "schedules"),
    [("mixed", "dict", 200), ("mixed", "sqlite", 12), ("wishes", "dict", 60), ("wishes", "sqlite", 12)],
)
def test_no_invariant_breaks(
    profile: str, store: str, schedules: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the weather, everything comes true; a failure prints its story and how to see it again."""
    found = Campaign(Plan(1, profile, store, schedules=schedules)).run()
    assert not found, capsys.readouterr().out


@pytest.mark.parametrize(("seed", "profile", "store"), FOUND)
def test_what_was_found_once_stays_mended(seed: int, profile: str, store: str) -> None:
    """Regression seeds."""
    bench = Bench(store)
    try:
        result: Result = forked(lambda: bench.run(seed, profile))
    finally:
        bench.close()
    assert not result.found


@pytest.mark.parametrize(("store", "seeds"), [("dict", [3, 4, 5, 6]), ("sqlite", [3, 4])])
def test_a_seed_is_one_schedule(store: str, seeds: list[int]) -> None:
    """The same digest under three hash seeds, in a batch and alone."""
    first = _digests(store, seeds, "0")
    assert len(set(first)) == len(seeds)
    assert _digests(store, seeds, "1") == first
    assert _digests(store, seeds[-1:], "2") == first[-1:]


def test_every_kind_of_fault_strikes() -> None:
    """A fault that never strikes proves nothing; the rarest strikes in one mixed schedule of a hundred."""
    bench = Bench("dict")
    aimed = {"mixed": 120, "flip": 40, "lists": 10, "oncall": 40, "apps": 10, "aged": 3, "gates": 10}
    plan = [(seed, profile) for profile, many in aimed.items() for seed in range(5000, 5000 + many)]
    more = [(seed, "mixed") for seed in range(6000, 7000)]

    def never() -> list[str]:
        struck: Counter[str] = Counter()
        for place, (seed, profile) in enumerate(plan + more):
            if place >= len(plan) and all(struck[fault] for fault in ALL_FAULTS):
                break
            struck.update(bench.run(seed, profile).struck)
        return [fault for fault in ALL_FAULTS if not struck[fault]]

    assert not forked(never)


def test_a_long_run_says_loudly_what_never_struck(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here, after very few schedules; and the log tells the seed to go on from."""
    monkeypatch.setattr(run, "ENOUGH", 2)
    log = tmp_path / "log"
    assert not Campaign(Plan(1, schedules=3, log=log)).run()
    assert "NEVER STRUCK" in capsys.readouterr().out
    part = json.loads(log.read_text().splitlines()[-1])
    assert (part["first_seed"], part["next_seed"], part["failed"]) == (1, 4, [])


def test_a_tape_repeats_its_schedule_and_zeros_are_harmless() -> None:
    """Replaying what was drawn is the same schedule; an empty tape is one in which nothing strikes."""
    bench = Bench("dict")

    def runs() -> tuple[str, str, Counter[str]]:
        from tests.verification.sim.world import World

        world = World(7, "any", digest=True, written=True)
        world.run()
        again = bench.run(7, "any", unpack(pack(world.tape.drawn)), digest=True)
        return world.digest, again.digest, bench.run(7, "any", []).struck

    drawn, replayed, struck = forked(runs)
    assert drawn == replayed
    assert not +struck


def test_shrinking_leaves_what_matters() -> None:
    """Only the choices that the failure needs stay."""
    choices = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    kept, _ = shrink(choices, lambda trial: trial[4] > 0 and trial[7] > 0, lambda: True)
    assert kept == [0, 0, 0, 0, 5, 0, 0, 6]
