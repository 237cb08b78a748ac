"""Cards in every phase, and what a dispatcher does with one: what the tests of the delivery machine share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from contracts.changes import CardDelivered, CardFailed
from contracts.wechat import Verdict
from statemachine import delivery
from statemachine.card import (
    CALLING,
    CLOSED,
    DUE,
    EXPIRED,
    GIVEN_UP,
    IN_SYNC,
    UNCERTAIN,
    Card,
    DeliveryRules,
    Phase,
    attempt_at,
    phase,
)
from statemachine.states import ENDED, NEARING, OPEN
from statemachine.step import ALL_SKIPPED, Claimed, Owed, Result, Step

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
NOW: Final = 1_800_000_000 * SECOND
EXPIRES: Final = NOW + 86_400 * SECOND
RULES: Final = DeliveryRules()


def card_of(state: str = OPEN, **columns: Any) -> Card:
    """A card whose first revision WeChat shows."""
    usual: dict[str, Any] = {"revision": 1, "settled": 1, "expires_at": EXPIRES}
    return Card("a", "wx1", "complete", "release", state, **usual | columns)


def due_card(state: str = OPEN, **columns: Any) -> Card:
    """A card with an undelivered revision."""
    usual: dict[str, Any] = {"revision": 2, "settled": 1, "behind_since": NOW - SECOND}
    return card_of(state, **usual | columns)


def take(card: Card, owed: Sequence[str] = (), now: int = NOW, **more: Any) -> Claimed:
    """Claim a card that has a call to make."""
    claimed = claim(card, owed, now, **more).claimed
    assert claimed is not None
    return claimed


def claim(card: Card, owed: Sequence[str] = (), now: int = NOW, *, rules: DeliveryRules = RULES) -> Step:
    """Claim a card for one dispatcher."""
    return delivery.claim(card, [Owed(each) for each in owed], now, holder="d", rules=rules)


def settled(claimed: Claimed, verdict: Verdict | None, now: int = NOW, **more: Any) -> Step:
    """Settle the claim's call on the claim's own card."""
    return settled_on(claimed.card, claimed, verdict, now, **more)


def settled_on(
    card: Card,
    claimed: Claimed,
    verdict: Verdict | None,
    now: int = NOW,
    *,
    rules: DeliveryRules = RULES,
    **more: Any,
) -> Step:
    """Settle the claim's call on the card as it is by now."""
    sent = verdict not in (None, Verdict.no_token)
    step = delivery.settle(card, Result(claimed, verdict, **{"sent": sent} | more), now, rules)
    assert step is not None
    return step


def failures(step: Step) -> list[tuple[str, int, tuple[str, ...]]]:
    """Verdict, revision and members of each `card.failed` that the step publishes."""
    told = [each for _, each in step.published if isinstance(each, CardFailed)]
    return [(each.verdict, each.revision, each.members or ()) for each in told]


def deliveries(step: Step) -> list[CardDelivered]:
    """Each `card.delivered` that the step publishes."""
    return [each for _, each in step.published if isinstance(each, CardDelivered)]


IN: Final[dict[Phase, Callable[[], Card]]] = {
    IN_SYNC: card_of,
    DUE: due_card,
    CALLING: lambda: take(due_card(NEARING), ("ann",)).card,
    UNCERTAIN: lambda: card_of(doubt_at=NOW - MINUTE),
    GIVEN_UP: lambda: card_of(verdict="unknown_code", revision=2, settled=2),
    CLOSED: lambda: card_of(ENDED, shown=3, may_show=3, revision=2, settled=2),
}
"""A card in each phase."""
EXPIRED_CARD: Final = card_of(ENDED, verdict=EXPIRED, revision=2, settled=2)


class Chat:
    """One card, its members, and a WeChat that answers as it is told. Time passes only as it must."""

    def __init__(self, card: Card, owed: Sequence[str] = (), rules: DeliveryRules = RULES) -> None:
        self.card, self.owed, self.rules, self.now = card, list(owed), rules, NOW
        self.skipped: list[str] = []
        self.told: list[str] = []
        self.calls: list[tuple[int, tuple[str, ...]]] = []
        self.failed: list[tuple[str, int, tuple[str, ...]]] = []

    def follow(self, step: Step) -> None:
        """What a store would write."""
        self.card = step.card
        self.told += step.confirmed
        self.skipped += step.skipped
        again = self.skipped if step.owed_again == ALL_SKIPPED else list(step.owed_again)
        self.owed = [each for each in self.owed if each not in (*step.confirmed, *step.skipped)] + again
        self.skipped = [each for each in self.skipped if each not in again]
        self.failed += failures(step)

    def call(self, answer: Callable[[int, tuple[str, ...]], Verdict], **more: Any) -> bool:
        """One claim and its settle, when the card wants it. False: it wants none any more."""
        at = attempt_at(self.card, self.rules)
        if at is None:
            return False
        self.now = max(self.now, at)
        step = claim(self.card, self.owed, self.now, rules=self.rules)
        self.follow(step)
        if step.claimed is not None:
            call = step.claimed.call
            self.calls.append((call.target_state, call.members))
            verdict = answer(call.target_state, call.members)
            self.follow(settled_on(self.card, step.claimed, verdict, self.now, rules=self.rules, **more))
        return True

    def run(self, answer: Callable[[int, tuple[str, ...]], Verdict], limit: int = 300, **more: Any) -> None:
        """Until the card wants nobody any more."""
        for _ in range(limit):
            if not self.call(answer, **more):
                return
        raise AssertionError(f"still {phase(self.card)} after {limit} calls")


def copy_of(card: Card, **columns: Any) -> Card:
    """The same card with these columns changed."""
    return msgspec.structs.replace(card, **columns)
