"""What most would write first: a FastStream handler that calls httpx for each Kafka message, 64 at once.

Messages count as done when they are handed to it (FastStream's default, and its only way with many at once):
what is in flight when it dies is lost.
"""

from __future__ import annotations

import asyncio
import os

import httpx
import uvloop
from faststream import FastStream
from faststream.kafka import KafkaBroker
from pydantic import BaseModel

from benchmarks.peers.call import HEADERS, IN_FLIGHT, LIMITS, URL, body, check

TOPIC = os.environ["BENCH_TOPIC"]


class Wanted(BaseModel):
    """A message."""

    activity_id: str


async def main() -> None:
    """Serve until stopped."""
    broker = KafkaBroker(os.environ["BENCH_KAFKA"].split(","), logger=None)
    async with httpx.AsyncClient(limits=LIMITS, timeout=30, trust_env=False) as http:

        @broker.subscriber(TOPIC, group_id=TOPIC, auto_offset_reset="earliest", max_workers=IN_FLIGHT)
        async def call(wanted: Wanted) -> None:
            answer = await http.post(URL, content=body(wanted.activity_id), headers=HEADERS)
            check(answer.raise_for_status().content)

        await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
