"""`python -m tests.chaos [--seconds S] [--activities N] [--seed N]`: a chaos run on three brokers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys

from scripts.engines import Kafka, Postgres
from tests.chaos.run import Verdict, chaos


def tell(verdict: Verdict) -> None:
    """What was done, and what came of it."""
    print(f"seed {verdict.seed}: {verdict.kills} kills; {verdict.acts}")
    print(f"{verdict.events} distinct events in {verdict.records} records")
    print(f"unknown outcomes: {verdict.unknown}, repeated member posts: {verdict.repeated_posts}")
    if verdict.wrong:
        print("\n".join(["the acts:", *verdict.story, "WRONG:", *verdict.wrong[:20]]))
        print(f"again: python -m tests.chaos --seed {verdict.seed}")
    else:
        print("0 lost, 0 wrong cards, the ledger balances")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--activities", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own producers see the brokers die, too
    with Kafka(brokers=3) as kafka, Postgres(durable=True) as postgres:
        verdict = asyncio.run(chaos(kafka, postgres, options.seed, options.seconds, options.activities))
    tell(verdict)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
