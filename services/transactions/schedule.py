"""Cards that the release before raised, doubted or ended learn when they are due (design.md §5)."""

from __future__ import annotations

from services.store.ports import Store
from services.store.rows import Moved, Writes
from statemachine.model import Rules
from statemachine.timers import due_at


async def schedule(store: Store, limit: int, rules: Rules) -> int:
    """Give `attempt_at` (and the clock's `due_at`) to up to `limit` of them; how many that were."""
    async with store.transaction() as tx:
        rows = await tx.lock_unscheduled(limit)
        if rows:
            moved = [Moved(activity, card, due_at(activity, card, rules)) for activity, card in rows]
            await tx.write(Writes(activities=moved))
    return len(rows)
