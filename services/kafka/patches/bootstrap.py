"""How aiokafka 0.14 comes to its first connections: none is forgotten, and a failure says why.

`AIOKafkaClient.bootstrap` closes the connection it asks for the cluster's brokers when the question
fails, but not when it is cancelled meanwhile (a deadline, a SIGTERM): the socket would stay open until
the garbage collector happens by. And when nobody lets it in, its error names the addresses only: the
certificate, the password or whatever else was wrong goes to its log. Each connection is made with the
certificates and the password as they are then.

That a start which fails leaves connections open is https://github.com/aio-libs/aiokafka/issues/715; we
found no issue of upstream's about a start that is cancelled, an error without its reason, or credentials
that change. This goes once `create_conn` and `bootstrap` close what they opened whatever ends them, the error
of `bootstrap` says why each address failed, and a client reads its certificates and its password anew for
each connection.
"""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from typing import Any, Final

import aiokafka.client
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from services.kafka.certificates import latest
from services.kafka.errors import NoConnection, explain
from services.kafka.passwords import current

LEAVE_DEADLINE: Final = 1.0
"""Seconds for closing a connection that is of no use."""


class _Tries:
    """What one bootstrap did so far."""

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.failures: list[str] = []


_tries: ContextVar[_Tries | None] = ContextVar("tries", default=None)
_create_conn, _bootstrap = aiokafka.client.create_conn, AIOKafkaClient.bootstrap


@functools.wraps(_create_conn)
async def _telling(host: str, port: int, **options: Any) -> Any:
    tries = _tries.get()
    options["ssl_context"] = latest(options.get("ssl_context"))
    options["sasl_plain_password"] = current(options.get("sasl_plain_password"))
    connection = AIOKafkaConnection(host, port, **options)
    try:
        await connection.connect()
    except Exception as error:
        await _left(connection)
        why = explain(error, options["security_protocol"])
        if tries is not None:
            tries.failures.append(f"{host}:{port}: {why}")
        raise NoConnection(why) from error
    except BaseException:  # cut off in the middle: nobody else knows of it
        connection.close()
        raise
    if tries is not None:
        tries.opened.append(connection)
    return connection


@functools.wraps(_bootstrap)
async def _closing(self: AIOKafkaClient) -> None:
    tries = _Tries()
    token = _tries.set(tries)
    try:
        await _bootstrap(self)
    except KafkaConnectionError as error:
        reasons = tries.failures + [await _mute(each) for each in tries.opened]
        raise NoConnection("; ".join(reasons) or str(error)) from error
    except BaseException:
        for connection in tries.opened:
            connection.close()
        raise
    finally:
        _tries.reset(token)


async def _mute(connection: Any) -> str:
    """It let us in and then did not say which brokers there are."""
    await _left(connection)
    return (
        f"{connection.host}:{connection.port}: the broker did not answer our first question; does it ask "
        "for a user (LIVECARD_KAFKA_SECURITY)?"
    )


async def _left(connection: Any) -> None:
    """Wait until the socket is closed: TLS first takes leave of the other side, which may take its time."""
    closed = connection.close()
    if connection._protocol is not None:  # noqa: SLF001 (nothing public tells whether it ever connected)
        await asyncio.wait([closed], timeout=LEAVE_DEADLINE)


def install() -> None:
    """Let every aiokafka client of this process start so; safe to call again."""
    aiokafka.client.create_conn = _telling
    AIOKafkaClient.bootstrap = _closing
