"""What whoever is on call looks at first: each app's gate and cards, and why the cards are not in sync."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from services.store.pages import OutOfSync, Place
from services.store.ports import Store
from services.store.pulse import Standing
from services.transactions.views import CardView, card_views
from statemachine.card import DeliveryRules, Phase
from statemachine.gate import as_believed

MOST_COUNTED: Final = 1_000
"""An app's cards that are counted; beyond it there are "1,000 or more"."""
MOST_EXPLAINED: Final = 200
"""The oldest cards whose reasons are added up."""


class AppView(msgspec.Struct, frozen=True):
    """An app: why its gate is closed and until when (µs; both None: it is open; `reason` alone: its wait is
    over, and the next call finds out), and its cards that are not in sync, up to `MOST_COUNTED`."""

    appid: str
    reason: str | None
    closed_until: int | None
    errcode: int | None
    errmsg: str
    not_in_sync: int
    undelivered_since: int | None


class Cause(msgspec.Struct, frozen=True):
    """Cards with one phase and reason: how many, and since when the oldest (µs)."""

    phase: Phase
    why: str
    cards: int
    since: int


class Overview(msgspec.Struct, frozen=True):
    """Some apps. `causes` count the oldest cards only where `partial`. `now` is the database's, µs."""

    apps: tuple[AppView, ...]
    cards: tuple[CardView, ...]
    causes: tuple[Cause, ...]
    partial: bool
    now: int

    @property
    def not_in_sync(self) -> int:
        """Cards, each app's up to `MOST_COUNTED`."""
        return sum(each.not_in_sync for each in self.apps)

    @property
    def capped(self) -> bool:
        """Whether there may be more of them."""
        return any(each.not_in_sync >= MOST_COUNTED for each in self.apps)

    @property
    def undelivered_since(self) -> int | None:
        """Since when the card is behind that has been so the longest."""
        return min(
            (each.undelivered_since for each in self.apps if each.undelivered_since is not None), default=None
        )

    @property
    def closed(self) -> tuple[AppView, ...]:
        """The apps whose gates are closed, or wait for one call to find out."""
        return tuple(each for each in self.apps if each.reason is not None)


async def read_standings(store: Store) -> tuple[list[Standing], int]:
    """Every app, and the database's now."""
    return await store.standings(MOST_COUNTED)


async def read_oldest(store: Store, appids: Collection[str], rules: DeliveryRules) -> list[CardView]:
    """The oldest cards of these apps that are not in sync, one more than are explained."""
    return card_views(await store.out_of_sync(appids, None, MOST_EXPLAINED + 1), rules)


async def cards_after(
    store: Store, appids: Collection[str], after: Place | None, limit: int, rules: DeliveryRules
) -> tuple[list[CardView], int]:
    """A page of such cards, and the database's now (0: there are none)."""
    found: OutOfSync = await store.out_of_sync(appids, after, limit)
    return card_views(found, rules), found.now


def overview(
    standings: Sequence[Standing],
    oldest: Sequence[CardView],
    appids: Collection[str],
    now: int,
    rules: DeliveryRules,
) -> Overview:
    """Put together for these apps."""
    apps = tuple(_app(each, now, rules) for each in standings if each.gate.appid in appids)
    shown = tuple(oldest[:MOST_EXPLAINED])
    return Overview(apps, shown, _causes(shown), len(oldest) > MOST_EXPLAINED, now)


def _app(standing: Standing, now: int, rules: DeliveryRules) -> AppView:
    gate = as_believed(standing.gate, now, rules.longest_closing)
    return AppView(
        gate.appid,
        gate.reason or None,
        gate.closed_until if gate.closed_until > now else None,
        gate.errcode or None,
        gate.errmsg,
        standing.not_in_sync,
        standing.undelivered_since,
    )


def _causes(cards: Sequence[CardView]) -> tuple[Cause, ...]:
    """Most cards first. The holder of a lease tells nobody why, so cards under way are one cause."""
    found: dict[tuple[Phase, str], list[int]] = {}
    for each in cards:
        why = "" if each.delivery.phase is Phase.calling else each.delivery.why
        found.setdefault((each.delivery.phase, why), []).append(each.since)
    causes = (Cause(phase, why, len(since), min(since)) for (phase, why), since in found.items())
    return tuple(sorted(causes, key=lambda each: (-each.cards, each.since)))
