"""Limits of WeChat's calls that are used up, as one process remembers them."""

from __future__ import annotations


class Pauses:
    """Until when this process asks WeChat for nothing of a kind, for an app: that call's limit is used up."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def left(self, call: str, appid: str, now: float) -> int:
        """Seconds left, 0 for none; `now` is monotonic."""
        until = self._until.get((call, appid), now)
        if until <= now:
            self._until.pop((call, appid), None)
        return -int((now - until) // 1)

    def begin(self, call: str, appid: str, now: float, seconds: float) -> None:
        """Ask for nothing for so long."""
        self._until[call, appid] = now + seconds
