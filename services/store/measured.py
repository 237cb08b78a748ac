"""How long statements take, and what committed transactions counted, told to telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from services.runtime.ports import Clock
from services.store.dialect import Statement
from services.store.sql_tx import Run


class StoreMetrics(Protocol):
    """What the store tells telemetry."""

    def ran(self, statement: str, seconds: float) -> None:
        """A statement was answered, or failed."""
        ...

    def counted(self, counters: Mapping[str, int]) -> None:
        """A committed transaction added this to the ledger's counters."""
        ...


class Measure(NamedTuple):
    """Who tells the time, and who is told."""

    clock: Clock
    metrics: StoreMetrics


class MeasuredRun:
    """Runs statements as another `Run` does, and tells how long each took."""

    def __init__(self, run: Run, measure: Measure) -> None:
        self._run, (self._clock, self._metrics) = run, measure

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows."""
        began = self._clock.monotonic()
        try:
            return await self._run(statement, parameters)
        finally:
            self._metrics.ran(statement.name, self._clock.monotonic() - began)

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        began = self._clock.monotonic()
        try:
            return await self._run.count(statement, parameters)
        finally:
            self._metrics.ran(statement.name, self._clock.monotonic() - began)
