"""We need a server that takes writes: how it is found, and what becomes of the pool when it is none any more.

After a failover the old primary may come back as a standby, at the address that we know and with connections
of ours to it. It answers every question and refuses every write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched
from sqlalchemy import URL, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.store.ports import StoreLost, StoreUnavailable

READ_ONLY: Final = (
    "the database takes no writes: it is a standby, or was made read-only (LIVECARD_DATABASE may name "
    "several servers: the one that takes them is found)"
)
OPTION: Final = "target_session_attrs"
_DEFAULT: Final = "read-write"
_NO_CONNECTION: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_CHOICES: Final = (_DEFAULT, "primary", "any")


def asked_for(url: URL) -> dict[str, Any]:
    """What the driver is told so that it connects to the right server. Raises `StoreUnavailable`.

    libpq's `target_session_attrs`: `read-write` unless the URL says `primary`, or `any`, with which commands
    that only read work on a standby.
    """
    given = url.query.get(OPTION, _DEFAULT)
    if given not in _CHOICES:
        raise StoreUnavailable(
            f"LIVECARD_DATABASE: {OPTION} is one of {', '.join(_CHOICES)}: livecard writes"
        )
    return {OPTION: given}


async def connect(*args: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
    """One connection of asyncpg's. Of several hosts, asked at once, the first that is what was asked for:
    the driver asks one after the other, and one that is dark would use up the time of all."""
    if not isinstance(host, list):
        return await _one(*args, host=host, port=port, **how)
    ports = port if isinstance(port, list) else [port] * len(host)
    asked = [
        asyncio.ensure_future(_one(*args, host=each, port=its, **how))
        for each, its in zip(host, ports, strict=True)
    ]
    chosen = None
    try:
        chosen = await _first(asked)
        return chosen
    finally:
        for task in asked:
            task.cancel()
            task.add_done_callback(lambda task: _let_go(task, chosen))


async def _one(*args: Any, **how: Any) -> Any:
    try:
        return await asyncpg.connect(*args, **how)
    except TargetServerAttributeNotMatched as error:
        raise StoreLost(READ_ONLY) from error
    except _NO_CONNECTION:
        raise
    except Exception as error:  # the driver trips over what it is told
        raise StoreUnavailable("what answers there does not speak PostgreSQL's protocol") from error


async def _first(asked: Sequence[asyncio.Future[Any]]) -> Any:
    """The first connection; where there is none, why: that those who answer take no writes says most."""
    problems: list[Exception] = []
    for each in asyncio.as_completed(asked):
        try:
            return await each
        except StoreLost as error:
            problems.insert(0, error)
        except (*_NO_CONNECTION, StoreUnavailable) as error:
            problems.append(error)
    raise problems[0]


def _let_go(task: asyncio.Future[Any], chosen: Any) -> None:
    """Close what nobody wants, and have looked at what nobody asks about."""
    if not task.cancelled() and task.exception() is None and task.result() is not chosen:
        task.result().terminate()


def renewal(engine: AsyncEngine) -> Callable[[], None]:
    """What throws the whole pool of connections away: none made before is used again."""
    stale = False

    def renew() -> None:
        nonlocal stale
        stale = True

    @event.listens_for(engine.sync_engine, "checkout")
    def leave(*_: object) -> None:
        nonlocal stale
        if stale:
            stale = False
            raise InvalidatePoolError("the server that it leads to takes no writes")

    return renew
