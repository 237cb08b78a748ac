"""procrastinate on PostgreSQL: an async task that calls httpx; 64 at once.

`python -m benchmarks.peers.procrastinate_tasks defer` makes the tables and the jobs, `… work` runs them.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httpx
import procrastinate
from procrastinate.types import JSONDict

from benchmarks.peers.call import ACTIVITIES, HEADERS, IN_FLIGHT, LIMITS, URL, body, check

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"], max_size=16)
)
http = httpx.AsyncClient(limits=LIMITS, timeout=30, trust_env=False)


async def call(activity: str) -> None:
    """One call."""
    answer = await http.post(URL, content=body(activity), headers=HEADERS)
    check(answer.raise_for_status().content)


task = app.task(name="call", retry=5)(call)


async def main(what: str) -> None:
    """Defer or work."""
    async with app.open_async(), http:
        if what == "defer":
            await app.schema_manager.apply_schema_async()
            jobs: list[JSONDict] = [{"activity": each} for each in ACTIVITIES]
            await task.batch_defer_async(*jobs)
        else:
            await app.run_worker_async(concurrency=IN_FLIGHT)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
