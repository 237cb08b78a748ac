"""`python -m tests.verification.fuzz [--records N] [--seed N]`: the inbound topic, on engines of its own.

`python -m tests.verification.fuzz answers [--count N] [--seed N]`: WeChat's answers, through the client.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from functools import partial

from scripts.engines import Kafka, Postgres
from tests.verification.fuzz.asking import ask
from tests.verification.fuzz.run import fuzz, report

tell = partial(print, flush=True)


def inbound(options: argparse.Namespace) -> int:
    """Records of all kinds at a lifecycle."""
    with Kafka() as kafka, Postgres() as postgres:
        run = fuzz(kafka.bootstrap, postgres.url(), "fuzz.", options.records, options.seed, tell=tell)
        outcome = asyncio.run(run)
    tell("\n".join(report(outcome)))
    return 1 if outcome.wrong else 0


def answers(options: argparse.Namespace) -> int:
    """Answers of all kinds at a client."""
    found = asyncio.run(ask(options.count, options.seed, tell=tell))
    tell("\n".join([*found.lines(), f"seed {options.seed}: {len(found.wrong)} wrong"]))
    return 1 if found.wrong else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.fuzz", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("inbound", "answers"), default="inbound")
    parser.add_argument("--records", type=int, default=100_000, help="how many records (%(default)s)")
    parser.add_argument("--count", type=int, default=100_000, help="how many answers (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="which run")
    options = parser.parse_args()
    # Ended by SIGTERM, a run takes its processes with it, as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return inbound(options) if options.what == "inbound" else answers(options)


if __name__ == "__main__":
    sys.exit(main())
