"""Counts of requests and faults: what a run looks like from WeChat's side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from services.simulator.cards import ChatCard


class Counts:
    """Counts of calls by path and outcome, and of faults by kind."""

    def __init__(self) -> None:
        self._calls: dict[str, Counter[str]] = {}
        self.faults: Counter[str] = Counter()
        self.applied_late = 0
        self.overlaps = 0

    def answered(self, path: str, errcode: int) -> None:
        """A call that the model answered."""
        counts = self._calls.get(path)
        if counts is None:
            counts = self._calls[path] = Counter()
        counts[str(errcode)] += 1

    def view(self, cards: Iterable[ChatCard]) -> dict[str, Any]:
        """Totals and every card's counts, as `/control/ledger` shows them.

        `calls` counts what the model answered, whether or not a fault kept the answer from arriving.
        """
        facts = {card.declaration.activity_id: card.facts() for card in cards}
        return {
            "calls": {path: dict(counts) for path, counts in sorted(self._calls.items())},
            "applied": sum(of["applied"] for of in facts.values()),
            "repeated_posts": sum(of["repeated_posts"] for of in facts.values()),
            "lowered": sum(of["lowered"] for of in facts.values()),
            "reopened": sum(of["reopened"] for of in facts.values()),
            "applied_late": self.applied_late,
            "overlaps": self.overlaps,
            "faults": dict(self.faults),
            "activities": facts,
        }
