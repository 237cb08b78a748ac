"""A burst of 500 completions on one activity, closed in its midst: calls made, and how soon the end shows.

`python -m benchmarks.burst [--rounds N]` runs the services as processes on Apache Kafka and
PostgreSQL against the stand-in for WeChat. "Known" is when the lifecycle read the clock under the
activity's lock; "shown" is when the stand-in applied state 3: both on this machine's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import asyncpg

from scripts.engines import Kafka, Postgres
from tests.e2e.line import Line, a_line, until

PEOPLE = [f"gp-{place:03}" for place in range(500)]


async def burst(line: Line, name: str, dsn: str) -> tuple[int, float]:
    """One activity: calls made, and seconds from known to shown."""
    line.declare(name, PEOPLE)
    card = line.card(name)
    await line.send(line.opened(name, PEOPLE))
    await line.send(*(line.completed(name, person) for person in PEOPLE))
    await until(lambda: len(card.posts) >= 100, "the burst is under way")
    await line.send(line.event("activity.closed", name, {}))
    await until(lambda: card.target_state == 3, "the card says 已结束")
    connection = await asyncpg.connect(dsn)
    known = await connection.fetchval("SELECT end_known_at FROM activities WHERE activity_id = $1", name)
    await connection.close()
    shown = next(applied.at for applied in card.history if applied.target_state == 3)
    assert len(card.posts) == len(PEOPLE)
    return len(card.history), (shown - known) / 1_000_000


async def measure(kafka: Kafka, postgres: Postgres, rounds: int) -> None:
    """Several bursts, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        dsn = postgres.url("livecard").replace("+asyncpg", "")
        async with a_line(kafka.bootstrap, postgres.url("livecard"), "burst.", Path(folder)) as line:
            await line.start("lifecycle", "clock", "dispatcher")
            measured = [await burst(line, f"burst-{place}", dsn) for place in range(rounds)]
    calls, seconds = [each[0] for each in measured], [each[1] for each in measured]
    print(f"{rounds} bursts of {len(PEOPLE)} completions, closed in their midst")
    print(f"calls to WeChat per burst: {min(calls)} to {max(calls)}")
    print(
        f"end shown after it was known: median {statistics.median(seconds) * 1000:.0f} ms, "
        f"longest {max(seconds) * 1000:.0f} ms"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with Kafka() as kafka, Postgres(durable=True) as postgres:
        asyncio.run(measure(kafka, postgres, options.rounds))


if __name__ == "__main__":
    main()
