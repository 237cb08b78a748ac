"""The clock fires what is due, and closes cards whose id has died (design.md §3, §6)."""

from __future__ import annotations

from collections import Counter

import msgspec

from services.store.ports import Store
from services.store.rows import Moved, Writes
from services.transactions.outgoing import change_rows
from services.transactions.steps import follow
from statemachine import delivery
from statemachine.activity import fire_due as fire
from statemachine.card import CLOSED, phase
from statemachine.model import Aggregate, Rules
from statemachine.states import ENDED
from statemachine.step import Step
from statemachine.timers import due_at


class Fired(msgspec.Struct):
    """What one round of timers came to. `lateness`: µs after its due time, per activity that moved; `closed`:
    cards whose id had died; `warned`: activities whose id is about to; `more`: an app had its share of the
    limit taken, and may have more that is due."""

    nudges: dict[str, int] = msgspec.field(default_factory=dict)
    lateness: list[int] = msgspec.field(default_factory=list)
    closed: int = 0
    warned: int = 0
    more: bool = False


async def fire_due(store: Store, limit: int, rules: Rules) -> Fired:
    """Fire up to `limit` due activities in one transaction, of every app its share of them; any number of
    clocks may do so at once.

    The due time is recomputed under the lock, so an outdated one does nothing but be corrected. A card whose
    id has died is closed, whatever its gate; while a dispatcher calls for it that waits for the lease's end.
    """
    fired, out = Fired(), Writes()
    async with store.transaction() as tx:
        rows = await tx.lock_due(limit)
        if not rows:
            return fired
        now = await tx.now()
        dying = [
            card.activity_id
            for activity, card in rows
            if activity.state == ENDED and max(activity.expires_at, card.lease_until) <= now
        ]
        owed = await tx.owed(dying) if dying else {}
        for activity, card in rows:
            name, due, revision = activity.activity_id, due_at(activity, card, rules), activity.revision
            aggregate = Aggregate(activity)
            before = activity.expiry_warned
            fire(aggregate, now, rules)
            fired.warned += activity.expiry_warned and not before
            out.outbox.extend(change_rows(name, aggregate.published, now))
            if activity.revision > revision:
                step = delivery.raise_revision(card, activity.state, activity.revision, now)
                out.count("revisions.raised", activity.revision - revision)
                fired.nudges[name] = activity.revision
                fired.lateness.append(max(0, now - (due if due is not None else now)))
            elif name in dying and phase(card) is not CLOSED:
                step = delivery.close(card, [each.group_openid for each in owed.get(name, ())], now)
                fired.closed += 1
            else:
                step = Step(card)
            follow(out, step, now)
            out.activities.append(Moved(activity, step.card, due_at(activity, step.card, rules)))
        await tx.write(out)
    apps = Counter(card.appid for _, card in rows)
    fired.more = max(apps.values()) >= limit // len(apps)
    return fired
