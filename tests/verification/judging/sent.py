"""What should have come of a load whose events arrive in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.decode import decode
from contracts.events import Event
from services.runtime.settings import Settings
from tests.verification.judging.judge import fates_of, judge_card, judge_ledger
from tests.verification.model.reference import Reference


class Sent:
    """The reference model, fed with every event of a load."""

    def __init__(self) -> None:
        self.reference = Reference(Settings().us("expiry_margin"))

    @property
    def events(self) -> int:
        """How many distinct ones there are."""
        return len(self.reference.seen)

    def add(self, event: dict[str, Any], now: int) -> None:
        """One is sent, at `now` (µs)."""
        read = decode(msgspec.json.encode(event))
        assert isinstance(read, Event), read
        self.reference.feed(read, now)

    def wrong(self, cards: Mapping[str, Any], ledger: Mapping[str, Any], now: int) -> list[str]:
        """What is not as it should be, once all is quiet."""
        self.reference.fire(now)
        lives = {name: self.reference.expected(name) for name in self.reference.lives}
        found = [
            f"{name}: {what}"
            for name, expected in lives.items()
            for what in judge_card(cards[name], expected)
        ]
        found += [f"{name} was lowered after its end" for name in lives if cards[name].lowered]
        found += judge_ledger(ledger, fates_of(lives.values()), sum(each.revision for each in lives.values()))
        return found
