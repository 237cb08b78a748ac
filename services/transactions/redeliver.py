"""An operator has skipped members, or a card that was given up, tried again (design.md §6)."""

from __future__ import annotations

import msgspec

from services.store.operators import Act, action
from services.store.ports import Store, Tx
from services.store.rows import Writes
from services.transactions.steps import follow
from statemachine import delivery
from statemachine.card import CLOSED, CONTINUED, EXPIRED, GIVEN_UP, phase
from statemachine.plan import END


class Redelivered(msgspec.Struct, frozen=True):
    """`members` that are owed again; `revived`: a card that was given up is tried again. `refused`: why it
    cannot be; with none of the three there was nothing to do. `found`: whether there is such a card."""

    members: tuple[str, ...] = ()
    revived: bool = False
    refused: str = ""
    found: bool = True


async def redeliver(store: Store, activity_id: str, act: Act | None = None) -> Redelivered:
    """`redeliver_in` a transaction of its own."""
    async with store.transaction() as tx:
        return await redeliver_in(tx, activity_id, act)


async def redeliver_in(tx: Tx, activity_id: str, act: Act | None = None) -> Redelivered:
    """Make skipped members owed and raise a revision, or revive a card that was given up. Safe to run twice.

    Refused (with a sentence) for a card that is closed; once the end was called only a given-up end revives.
    What was done is an action of `act`, if somebody acts.
    """
    out = Writes()
    cards = await tx.lock_cards([activity_id])
    if not cards:
        return Redelivered(refused="no such activity, or its `opened` has not come yet", found=False)
    card, now = cards[0], await tx.now()
    before = phase(card)
    if card.verdict == CONTINUED:
        return Redelivered(refused="another card continues it, and shows whoever is done")
    if card.verdict == EXPIRED or card.expires_at <= now:
        return Redelivered(refused="its id is dead: WeChat takes no call for it any more")
    if before is CLOSED:
        return Redelivered(refused="the card shows its end: nothing can follow it")
    skipped = (await tx.skipped([activity_id])).get(activity_id, [])
    step = delivery.redeliver(card, skipped, now)
    if step is None:
        called = card.may_show == END and skipped
        return Redelivered(refused="the end was called already: no member can follow it" if called else "")
    follow(out, step, now)
    out.cards.append(step.card)
    await tx.write(out)
    if act is not None:
        said = f"skipped members {len(step.owed_again)}{', given up' if before is GIVEN_UP else ''}"
        await tx.note([action(act, "redeliver", appid=card.appid, about=activity_id, said=said)])
    return Redelivered(step.owed_again, before is GIVEN_UP)
