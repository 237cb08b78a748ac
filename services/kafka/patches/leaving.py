"""The end of a consumer: `AIOKafkaConsumer.stop` of aiokafka 0.14 may end half-way, and what is left runs on.

It closes the group's coordinator, the fetcher and the client, in this order. The fetcher's `close` awaits
requests that it has cancelled, and raises where one was not begun or waits after a failure; so the client
keeps its connections (https://github.com/aio-libs/aiokafka/issues/647). Cut off while a broker does not
answer, or while the group is joining, it leaves the fetcher and the heartbeats running: they connect again,
and fetch for nobody. This goes once `stop` closes everything whatever happens on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

LEAVE_DEADLINE: Final = 3.0
"""Seconds for leaving the group and closing the connections."""


async def leave(
    consumer: AIOKafkaConsumer, stop: Awaitable[None] | None = None, deadline: float = LEAVE_DEADLINE
) -> None:
    """Stop it, by `stop` where that does more, for so many seconds; then nothing of it runs or is connected.

    Never raises.
    """
    stopping = asyncio.ensure_future(consumer.stop() if stop is None else stop)
    done, _ = await asyncio.wait([stopping], timeout=deadline)
    if not done:
        stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # it is over either way
        await stopping
    left = [task for task in _tasks(consumer) if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=deadline)
    with contextlib.suppress(Exception):
        await consumer._client.close()  # noqa: SLF001 (harmless where it is closed already)


def _tasks(consumer: Any) -> Iterator[asyncio.Task[Any]]:
    """What may still run: nothing, where it stopped as it should."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001 (nothing public tells of them)
    for name in ("_coordination_task", "_heartbeat_task", "_commit_refresh_task"):
        if (task := getattr(coordinator, name, None)) is not None:
            yield task
    if fetcher is not None:
        yield fetcher._fetch_task  # noqa: SLF001 (the same)
        yield from fetcher._pending_tasks  # noqa: SLF001 (the same)
