"""Events that waited too long for their `opened` go to the dead letters (design.md §4)."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.events import Event, Opened
from services.store.ports import Store, Tx
from services.store.rows import Announced, InboxKey, InboxOutcome, ParkedRow, Writes, pages
from services.transactions.arrivals import read_arrival
from services.transactions.outgoing import dead_row
from statemachine.states import UNOPENED


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
            rows = await tx.parked(page)
            out = _letters(rows, age, now)
            out.announced += await _announced(tx, rows)
            await tx.write(out)
    return len(page)


async def _announced(tx: Tx, rows: Sequence[ParkedRow]) -> list[Announced]:
    """Take back what the API announced: the `opened` that was on its way is among these."""
    contents = [read_arrival(row.record).content for row in rows]
    opened = {
        (each.activity_id, each.data.appid)
        for each in contents
        if isinstance(each, Event) and isinstance(each.data, Opened)
    }
    locked = await tx.lock(sorted({name for name, _ in opened}))
    return [
        Announced(name)
        for name, row in locked.items()
        if row.activity.state == UNOPENED and (name, row.card.appid) in opened
    ]


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
