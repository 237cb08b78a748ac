"""What a service says of its work to whoever draws traces; without one nothing is asked or made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from contracts.nudge import Nudge
from services.kafka.ports import Headers
from services.transactions.apply import Applied
from services.transactions.arrivals import Arrival
from statemachine.step import Result


class Asking(msgspec.Struct, frozen=True):
    """A request whose span was begun at `at` (ns since the epoch); `headers`: its own, but with that span's
    context instead of its caller's."""

    headers: Sequence[tuple[bytes, bytes]]
    span: Any
    at: int


class Traces(Protocol):
    """Told after the fact, so that nothing waits for it; a request alone is told before it, as its events
    name its span. No method raises."""

    def asked(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Asking | None:
        """The gateway takes up a request with these headers; None: go on without a trace."""
        ...

    def answered(self, asking: Asking, route: str, status: int, seconds: float, activity_id: str) -> None:
        """Its answer began after so long; `status` 0: nobody was answered, `route` empty: there is none."""
        ...

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
