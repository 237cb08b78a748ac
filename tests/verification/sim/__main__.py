"""`python -m tests.verification.sim`: run schedules, shrink and tell what fails, show what struck."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.verification.sim.planted.hunt import hunt_all
from tests.verification.sim.run import Campaign, Plan, replay
from tests.verification.sim.weather import PROFILES


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.sim", description=__doc__)
    parser.add_argument(
        "--seed", "--first-seed", type=int, default=None, help="the first seed (default: by the clock)"
    )
    parser.add_argument("--store", choices=("dict", "sqlite"), default="dict")
    parser.add_argument("--schedules", type=int, default=None, help="how many, at most")
    parser.add_argument("--seconds", type=float, default=None, help="for how long, at most (default 25)")
    parser.add_argument("--profile", choices=("mixed", *PROFILES), default="mixed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes side by side")
    parser.add_argument("--log", type=Path, default=None, help="append a line of JSON every half minute")
    parser.add_argument("--keep-going", action="store_true", help="count failures instead of stopping")
    parser.add_argument("--story", action="store_true", help="tell the schedule of --seed, whatever it finds")
    parser.add_argument("--tape", default=None, help="the choices to replay, as a failure prints them")
    parser.add_argument("--planted", default=None, help="a planted mistake to look for, or all")
    parser.add_argument("--budget", type=int, default=20_000, help="schedules for each planted mistake")
    wish = parser.parse_args()
    if wish.planted is not None:
        return 1 if hunt_all(wish.planted, wish.store, wish.budget, wish.seed or 1, wish.workers) else 0
    seed = wish.seed if wish.seed is not None else time.time_ns() // 1_000_000 % 1_000_000_000
    if wish.story or wish.tape is not None:
        return replay(seed, wish.profile, wish.store, wish.tape)
    seconds = wish.seconds
    if seconds is None and wish.schedules is None:
        seconds = 25.0
    plan = Plan(
        seed, wish.profile, wish.store, wish.schedules, seconds, wish.workers, wish.keep_going, wish.log
    )
    return Campaign(plan).run()


if __name__ == "__main__":
    sys.exit(main())
