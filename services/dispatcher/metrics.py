"""What the dispatcher tells telemetry; durations in seconds."""

from __future__ import annotations

from typing import Protocol


class DispatcherMetrics(Protocol):
    """Implemented by `services.runtime.metrics` and, for tests, by `NoMetrics`."""

    def called(self, appid: str, verdict: str, errcode: int | None, seconds: float) -> None:
        """One call to WeChat came back; `unknown` is a verdict like the others."""
        ...

    def repeated(self, members: int) -> None:
        """So many members were sent again after an unknown outcome."""
        ...

    def claimed(self, cards: int) -> None:
        """So many cards were taken in one transaction."""
        ...

    def settled(self, results: int, stale: int) -> None:
        """So many results were settled in one transaction, `stale` of them without their fence."""
        ...

    def calls_in_flight(self, calls: int) -> None:
        """Calls in flight in this process."""
        ...

    def gate_width(self, appid: str, width: int) -> None:
        """How many calls this app may have in flight in this process; 0: it is not called from here."""
        ...

    def app_gone(self, appid: str) -> None:
        """The apps file names it no more, so nobody asks what is left of its quota."""
        ...


class NoMetrics:
    """Tells nobody."""

    def called(self, appid: str, verdict: str, errcode: int | None, seconds: float) -> None:
        """Nothing."""

    def repeated(self, members: int) -> None:
        """Nothing."""

    def claimed(self, cards: int) -> None:
        """Nothing."""

    def settled(self, results: int, stale: int) -> None:
        """Nothing."""

    def calls_in_flight(self, calls: int) -> None:
        """Nothing."""

    def gate_width(self, appid: str, width: int) -> None:
        """Nothing."""

    def app_gone(self, appid: str) -> None:
        """Nothing."""
