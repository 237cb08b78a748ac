"""`python -m tests.verification.chaos [--seconds S] [--activities N] [--seed N]`: on three brokers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
from functools import partial

from scripts.engines import Postgres
from tests.verification.chaos.run import Outcome, chaos
from tests.verification.chaos.stage import ProxiedKafka
from tests.verification.chaos.verdict import judge, report

tell = partial(print, flush=True)


def conclude(outcome: Outcome) -> int:
    """Tell what was done and what came of it; the exit code."""
    verdict = judge(outcome.record)
    tell("\n".join(report(outcome, verdict)))
    return 1 if verdict.wrong else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the weather lasts (%(default)s)")
    parser.add_argument("--activities", type=int, help="how many lives (default: five a second)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="which run")
    options = parser.parse_args()
    activities = options.activities or round(options.seconds * 5)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own clients see the brokers die, too
    # Ended by SIGTERM, a run takes its services with it, as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with ProxiedKafka() as kafka, Postgres(durable=True) as postgres:
        outcome = asyncio.run(chaos(kafka, postgres, options.seed, options.seconds, activities, tell=tell))
    return conclude(outcome)


if __name__ == "__main__":
    sys.exit(main())
