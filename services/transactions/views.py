"""What people read about one activity: `livecard show`, and whatever else shows a card's delivery."""

from __future__ import annotations

import msgspec

from services.store.ports import Store
from services.store.rows import Seen
from statemachine.card import DeliveryRules, Status, status
from statemachine.subtitles import Viewer, subtitle


class Reads(msgspec.Struct, frozen=True):
    """The card's subtitle as each viewer reads it, by what WeChat confirmed."""

    publisher: str
    done: str
    pending: str
    bystander: str


class ActivityView(msgspec.Struct, frozen=True):
    """One activity: what is kept, where its card's delivery stands, and what people read.

    The last two are None for an activity that has not been opened.
    """

    seen: Seen
    delivery: Status | None
    reads: Reads | None


async def view_activity(store: Store, activity_id: str, rules: DeliveryRules) -> ActivityView | None:
    """One activity in one snapshot; None when no event about it was ever taken in."""
    seen = await store.show(activity_id)
    return None if seen is None else activity_view(seen, rules)


def activity_view(seen: Seen, rules: DeliveryRules) -> ActivityView:
    """What is kept, with what follows from it."""
    card = seen.card
    if not seen.activity.state:
        return ActivityView(seen, None, None)
    confirmed = seen.members.confirmed

    def read(viewer: Viewer, *, done: bool = False) -> str:
        return subtitle(viewer, card.shown, card.template, done=done, done_count=confirmed)

    reads = Reads(
        publisher=read(Viewer.publisher),
        done=read(Viewer.participant, done=True),
        pending=read(Viewer.participant),
        bystander=read(Viewer.bystander),
    )
    return ActivityView(seen, status(card, seen.gate, seen.now, rules), reads)
