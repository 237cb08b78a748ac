"""The clock's composition root."""

from __future__ import annotations

from services.clock.clock import TimerClock
from services.runtime.process import Parts, Service


def build(parts: Parts) -> list[Service]:
    """The services of a clock process."""
    return [
        TimerClock(
            store=parts.store,
            bus=parts.bus,
            relay=parts.relay,
            clock=parts.clock,
            chance=parts.chance,
            settings=parts.settings,
            rules=parts.rules,
            metrics=parts.metrics,
        )
    ]
