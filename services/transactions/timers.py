"""The verbs of the clock: what is due fires, what waited too long goes to the dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.store.ports import Store
from services.store.rows import InboxKey, InboxOutcome, ParkedRow, Writes, pages
from services.transactions.outgoing import change_rows, dead_row
from statemachine.activity import fire_due as fire
from statemachine.model import Aggregate, Rules
from statemachine.timers import due_at


class Fired(msgspec.Struct):
    """What one round of timers came to. `lateness`: µs after its due time, per activity fired."""

    nudges: dict[str, int] = msgspec.field(default_factory=dict)
    lateness: list[int] = msgspec.field(default_factory=list)
    taken: int = 0


async def fire_due(store: Store, limit: int, rules: Rules) -> Fired:
    """Fire up to `limit` due activities in one transaction; any number of clocks may do so at once.

    The due time is recomputed under the lock, so an outdated one does nothing but be corrected.
    `taken` = `limit` means that more may be due.
    """
    fired, out = Fired(), Writes()
    async with store.transaction() as tx:
        activities = await tx.lock_due(limit)
        if not activities:
            return fired
        now = await tx.now()
        for activity in activities:
            due, revision = due_at(activity, rules), activity.revision
            aggregate = Aggregate(activity)
            fire(aggregate, now, rules)
            out.activities.append(activity)
            out.due_at.append(due_at(activity, rules))
            if activity.revision > revision:
                out.outbox.extend(change_rows(activity.activity_id, aggregate.published, now))
                out.count("revisions.raised", activity.revision - revision)
                fired.nudges[activity.activity_id] = activity.revision
                fired.lateness.append(max(0, now - (due if due is not None else now)))
        await tx.write(out)
    fired.taken = len(activities)
    return fired


async def bury_parked(store: Store, age: int, limit: int) -> int:
    """Dead-letter, through the outbox, what waited for its `opened` longer than `age` µs; how many.

    A step takes the oldest, up to `limit` and no more than fit into memory: 0 means that there is none left.
    The inbox row stays as `dead`, which a replay may turn into a living one (design.md §4).
    """
    async with store.transaction() as tx:
        now = await tx.now()
        names = await tx.stale_parked(now - age, limit)
        page = next(pages(await tx.waiting(names, now - age, limit)), [])
        if page:
            await tx.write(_letters(await tx.parked(page), age, now))
    return len(page)


def _letters(rows: Sequence[ParkedRow], age: int, now: int) -> Writes:
    """Off the shelf and into the outbox."""
    out = Writes()
    for row in rows:
        error = f"no livecard.activity.opened for {row.activity_id!r} came within {age // 1_000_000} s"
        out.outbox.append(dead_row(row.activity_id, row.record, "parked_too_long", error, now))
        out.unpark.append(InboxKey(row.source, row.id))
        out.outcomes.append(InboxOutcome(row.source, row.id, "dead", "parked_too_long"))
    out.count("events.parked", -len(rows))
    out.count("events.dead", len(rows))
    return out
