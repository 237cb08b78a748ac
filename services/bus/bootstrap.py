"""A start cut short: aiokafka 0.14 forgets its first connection then, so we close it.

`AIOKafkaClient.bootstrap` closes the connection it asks for the cluster's brokers when the question
fails, but not when it is cancelled meanwhile (a deadline, a SIGTERM): the socket stays open until the
garbage collector happens by.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

import aiokafka.client
from aiokafka.client import AIOKafkaClient

_opened: ContextVar[list[Any] | None] = ContextVar("opened", default=None)
_create_conn, _bootstrap = aiokafka.client.create_conn, AIOKafkaClient.bootstrap


@functools.wraps(_create_conn)
async def _remembering(*args: Any, **options: Any) -> Any:
    connection = await _create_conn(*args, **options)
    if (opened := _opened.get()) is not None:
        opened.append(connection)
    return connection


@functools.wraps(_bootstrap)
async def _closing(self: AIOKafkaClient) -> None:
    opened: list[Any] = []
    token = _opened.set(opened)
    try:
        await _bootstrap(self)
    except BaseException:
        for connection in opened:
            connection.close()
        raise
    finally:
        _opened.reset(token)


def install() -> None:
    """Let every aiokafka client close what a cancelled start had opened; safe to call again."""
    aiokafka.client.create_conn = _remembering
    AIOKafkaClient.bootstrap = _closing
