"""A user who logged in: a row for a day, by the hash of what the caller holds (design.md §8, *Rooms*)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.store.ports import Store, Tx
from services.store.sessions import SessionRow

T = TypeVar("T")


async def keep_session(store: Store, row: SessionRow, last: Callable[[Tx], Awaitable[T]]) -> T:
    """Keep the login, and what `last` does, in one transaction; the result of `last`."""
    async with store.transaction() as tx:
        await tx.keep_session(row)
        return await last(tx)
