"""Calls per minute and per day, by app and path (wechat-api.md §2, §4: 45011, 45009, 48006)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from contracts.times import DAY, HOUR, MINUTE, SECOND
from contracts.wechat import STABLE_TOKEN_PATH
from services.simulator.requests import RefusedError

_SHANGHAI: Final = 8 * HOUR  # no daylight saving time since 1991


class QuotaLimits(msgspec.Struct, frozen=True):
    """How many calls an app may make to one path."""

    daily: int = 100_000_000
    minute: int = 10_000_000


class Usage(msgspec.Struct):
    """Calls counted against the limits in the current day and minute."""

    day: int = 0
    daily: int = 0
    minute_number: int = 0
    minute: int = 0


def shanghai_day(now: int) -> int:
    """The number of the day in Asia/Shanghai; `now` in µs."""
    return (now + _SHANGHAI) // DAY


def shanghai_month(now: int) -> str:
    """The month in Asia/Shanghai as `2026-11`."""
    return datetime.fromtimestamp((now + _SHANGHAI) // SECOND, UTC).strftime("%Y-%m")


class Quotas:
    """What each app has used. A refused call counts for nothing."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str | None, str], QuotaLimits] = {
            (None, STABLE_TOKEN_PATH): QuotaLimits(daily=500_000, minute=10_000)
        }
        self._usage: dict[tuple[str, str], Usage] = {}
        self._clears: dict[tuple[str, str], int] = {}

    def limit(self, appid: str | None, path: str, *, daily: int | None, minute: int | None) -> QuotaLimits:
        """Set the limits of a path for one app, or for every app (None); None leaves a limit as it is."""
        before = self._limits.get((appid, path)) or self._limits.get((None, path)) or QuotaLimits()
        after = QuotaLimits(
            daily=before.daily if daily is None else daily,
            minute=before.minute if minute is None else minute,
        )
        self._limits[appid, path] = after
        return after

    def limits(self, appid: str, path: str) -> QuotaLimits:
        """The limits in force."""
        return self._limits.get((appid, path)) or self._limits.get((None, path)) or _UNLIMITED

    def spend(self, now: int, appid: str, path: str) -> None:
        """Count one call. Raises `RefusedError` 45009 (day used up) or 45011 (minute used up)."""
        limits, usage = self.limits(appid, path), self._current(now, appid, path)
        if usage.daily >= limits.daily:
            raise RefusedError(45009)
        if usage.minute >= limits.minute:
            raise RefusedError(45011)
        usage.daily += 1
        usage.minute += 1

    def used(self, now: int, appid: str, path: str) -> int:
        """Calls counted today."""
        return self._current(now, appid, path).daily

    def clear(self, now: int, appid: str, most: int) -> None:
        """Zero the day's counters of an app. Raises `RefusedError` 48006 after `most` in a month."""
        month = (appid, shanghai_month(now))
        if self._clears.get(month, 0) >= most:
            raise RefusedError(48006)
        self._clears[month] = self._clears.get(month, 0) + 1
        for (owner, _), usage in self._usage.items():
            if owner == appid:
                usage.daily = 0

    def _current(self, now: int, appid: str, path: str) -> Usage:
        usage = self._usage.get((appid, path))
        if usage is None:
            usage = self._usage[appid, path] = Usage()
        minute_number = now // MINUTE
        if usage.minute_number != minute_number:
            usage.minute_number, usage.minute = minute_number, 0
            day = shanghai_day(now)
            if usage.day != day:
                usage.day, usage.daily = day, 0
        return usage


_UNLIMITED = QuotaLimits()
