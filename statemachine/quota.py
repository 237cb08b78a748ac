"""How long today's calls of an app last (wechat-api.md §4: the day is Shanghai's). Pure; all times µs."""

from __future__ import annotations

from math import inf

from statemachine.gate import DAY, SHANGHAI


def day_start(now: int) -> int:
    """When the day of WeChat's quotas began."""
    return (now + SHANGHAI) // DAY * DAY - SHANGHAI


def day_end(now: int) -> int:
    """When it ends, and quotas begin anew."""
    return day_start(now) + DAY


def used_up_at(left: int, used: int, lately: int, span: int, now: int) -> int | None:
    """When `left` calls are used up, if it goes on as fast as it has been: today on the average, or over the
    last `span` in which `lately` calls were made, whichever is faster. None: not today."""
    if left <= 0:
        return now
    rate = max(used / max(1, now - day_start(now)), lately / span)
    at = now + left / rate if rate else day_end(now)
    return int(at) if at < day_end(now) else None


def ask_again_in(spare: int, spent: int, seconds: float, soonest: float) -> float:
    """Seconds until half of what is to spare may be gone, if it goes on as in the last `seconds`, in which
    `spent` calls were made; `soonest` at least, and without end where nothing is spent or to spare."""
    if spare <= 0 or spent <= 0 or seconds <= 0:
        return inf
    return max(soonest, spare * seconds / spent / 2)
