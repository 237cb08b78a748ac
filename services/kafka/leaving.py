"""A consumer's end, within seconds also when no broker answers any more."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiokafka import AIOKafkaConsumer

LEAVE_DEADLINE: Final = 3.0
"""Seconds for leaving the group and closing the connections."""


async def leave(consumer: AIOKafkaConsumer) -> None:
    """Stop it; never raises."""
    leaving = asyncio.ensure_future(consumer.stop())
    done, _ = await asyncio.wait([leaving], timeout=LEAVE_DEADLINE)
    if not done:
        leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # it is over either way
        await leaving
    if not done:
        with contextlib.suppress(Exception):
            await consumer._client.close()  # noqa: SLF001 (cut off, it has left its connections open)
