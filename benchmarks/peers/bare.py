"""The fastest client: aiohttp in a bare loop, 64 calls in flight all the time, nothing kept anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import uvloop

from benchmarks.peers.call import ACTIVITIES, HEADERS, IN_FLIGHT, URL, body, check


async def work(http: aiohttp.ClientSession, activities: Iterator[str]) -> None:
    """One call after the other."""
    for activity in activities:
        async with http.post(URL, data=body(activity), headers=HEADERS) as answer:
            check(await answer.read())


async def main() -> None:
    """All calls, then wait to be stopped."""
    left = iter(ACTIVITIES)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as http:
        await asyncio.gather(*(work(http, left) for _ in range(IN_FLIGHT)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
