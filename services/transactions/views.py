"""What people read about activities and cards: `livecard show`, the gateway, and whatever else shows them."""

from __future__ import annotations

import msgspec

from services.store.pages import OutOfSync, Place
from services.store.ports import Store
from services.store.rows import Seen
from statemachine.card import DeliveryRules, Status, not_in_sync_since, status
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


class CardView(msgspec.Struct, frozen=True):
    """A card that is not in sync: where its delivery stands, and since when (µs)."""

    activity_id: str
    appid: str
    delivery: Status
    since: int

    @property
    def place(self) -> Place:
        """Its place in the list of such cards, oldest first."""
        return Place(self.since, self.activity_id)


def card_views(found: OutOfSync, rules: DeliveryRules) -> list[CardView]:
    """Some cards that are not in sync, in their order."""
    return [
        CardView(
            card.activity_id,
            card.appid,
            status(card, gate, found.now, rules),
            not_in_sync_since(card) or 0,
        )
        for card, gate in found.cards
    ]
