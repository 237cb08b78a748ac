"""An activity that the API creates: whose it is, and its `opened` on the way, or neither (design.md §8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.store.ports import Store, Tx
from services.store.rows import Announced, OutboxRow, Writes
from statemachine.states import UNOPENED

T = TypeVar("T")


async def announce(
    store: Store,
    announced: Announced,
    opening: Callable[[int], OutboxRow],
    last: Callable[[Tx], Awaitable[T]],
) -> T | None:
    """Keep the activity's app, its `opened` (made at the database's now) and what `last` does, in one
    transaction; the result of `last`. None: there is an activity of this id already, whosoever it is, or
    events wait for one, which may be another app's.

    The row stays unopened: the lifecycle opens it, when the event comes back from Kafka.
    """
    async with store.transaction() as tx:
        name = announced.activity_id
        locked = (await tx.lock([name]))[name]
        if locked.activity.state != UNOPENED or locked.card.appid or await tx.count_parked([name]):
            return None
        await tx.write(Writes(announced=[announced], outbox=[opening(await tx.now())]))
        return await last(tx)
