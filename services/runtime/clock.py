"""The real clock; with `random.Random`, what a production process hands to its services."""

from __future__ import annotations

import time


class RealClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> int:
        """µs since the epoch, UTC."""
        return time.time_ns() // 1_000
