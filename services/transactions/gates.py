"""When an app's gate closes, and until when (design.md §6, wechat-api.md §4)."""

from __future__ import annotations

from typing import Final

from contracts.times import LATEST
from contracts.wechat import Verdict
from services.store.ports import Store
from services.store.rows import Gate, Writes
from services.transactions.claim import CardRules

NEVER: Final = LATEST
"""Until when a gate is closed that only an event of ours opens (`unknown_app`)."""
UNKNOWN_APP: Final = "unknown_app"
"""Why a gate is closed for an app that the apps file does not name (design.md §4)."""

MINUTE: Final = 60_000_000
DAY: Final = 86_400_000_000
SHANGHAI: Final = 8 * 3_600_000_000
"""UTC+8, without daylight saving: the day of WeChat's quotas (wechat-api.md §4)."""


async def close_gate(store: Store, appid: str, reason: str, until: int) -> None:
    """Close an app's gate for a reason of our own; cards wait, no attempt is counted."""
    async with store.transaction() as tx:
        now = await tx.now()
        await tx.write(Writes(gates=[Gate(appid, until, now, reason)]))


def gate_until(verdict: Verdict, now: int, jitter: float, rules: CardRules) -> int:
    """Until when a verdict closes an app's gate, µs (wechat-api.md §4).

    The next minute of the wall clock plus up to 2 s; midnight in Asia/Shanghai; a slow probe.
    """
    if verdict is Verdict.minute_limit:
        return (now // MINUTE + 1) * MINUTE + int(2_000_000 * jitter)
    if verdict is Verdict.daily_limit:
        return ((now + SHANGHAI) // DAY + 1) * DAY - SHANGHAI
    return now + rules.probe
