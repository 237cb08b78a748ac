"""What a service says of its work to whoever draws traces; without one nothing is asked or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from contracts.nudge import Nudge
from services.kafka.ports import Headers
from services.transactions.apply import Applied
from services.transactions.arrivals import Arrival
from statemachine.step import Result


class Traces(Protocol):
    """Told after the fact, so that nothing waits for it. No method raises."""

    def taken(self, arrivals: Sequence[Arrival], applied: Applied, seconds: float) -> Mapping[str, Headers]:
        """These arrivals are in, by one transaction that took so long; the headers of its nudges."""
        ...

    def heard(self, nudge: Nudge, headers: Headers) -> None:
        """A nudge came with headers."""
        ...

    def called(self, result: Result, seconds: float) -> str:
        """A call to WeChat took so long and came to this; the id of its trace, empty where it has none."""
        ...

    def close(self) -> None:
        """Export what is left, within a few seconds."""
        ...
