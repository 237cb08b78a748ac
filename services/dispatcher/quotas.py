"""Asks now and then what is left of each app's quota, for the metrics, and keeps the rest of it for ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

import structlog

from contracts.times import SECOND
from services.dispatcher.metrics import DispatcherMetrics
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Clock
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.wechat.ports import Apps, WeChat
from statemachine.quota import ask_again_in, day_end

LOG = structlog.get_logger("livecard.dispatcher")

SOON: Final = 5.0
"""Seconds within which every app is asked about first, where a reserve is to be kept."""
OFTEN: Final = 10.0
"""Seconds between questions about an app that is about to reach its reserve, or may be."""
NEWS: Final = 30.0
"""Seconds after which an app is seen that the apps file names anew."""


class QuotaWatch:
    """Asks about each app once in `LIVECARD_QUOTA_PROBE`, at different times. Where there is a
    `LIVECARD_QUOTA_RESERVE`, it asks first soon after the start, and more often when an app comes near. The
    client tells the answers to telemetry; one that says nothing leaves everything as it was.

    Which apps keep the rest for ends stands in the store, and until when by the database's clock: all
    dispatchers agree, and people can see it.
    """

    def __init__(
        self,
        store: Store,
        wechat: WeChat,
        apps: Apps,
        clock: Clock,
        settings: Settings,
        *,
        metrics: DispatcherMetrics,
    ) -> None:
        self._store, self._wechat, self._apps, self._clock = store, wechat, apps, clock
        self._metrics = metrics
        self._every, self._reserve = settings.quota_probe, settings.quota_reserve
        self._ask_at: dict[str, float] = {}
        self._first = min(self._every, SOON) if self._reserve else self._every
        self._last: dict[str, tuple[float, int]] = {}
        self._unanswered: Counter[str] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now, appids = self._clock.monotonic(), self._apps.appids()
            turns = {appid: now + self._first * turn / len(appids) for turn, appid in enumerate(appids, 1)}
            for appid in self._ask_at.keys() - turns.keys():
                self._last.pop(appid, None)
                self._unanswered.pop(appid, None)
                self._metrics.app_gone(appid)
            self._ask_at = {appid: self._ask_at.get(appid, turn) for appid, turn in turns.items()}
            for appid in [each for each, at in self._ask_at.items() if at <= now]:
                wait = await self._ask(appid)
                self._ask_at[appid] = self._clock.monotonic() + wait
            soon = min(self._ask_at.values(), default=now + self._every)
            await asyncio.sleep(min(NEWS, self._every, max(0.0, soon - self._clock.monotonic())))

    async def _ask(self, appid: str) -> float:
        """Ask about one; seconds until it is asked about again."""
        asked = self._clock.monotonic()
        left = await self._wechat.quota_left(appid)
        if not self._reserve:
            if left is not None:  # a reserve may be there from an older process or a backup
                await self._save(appid, left)
            return self._every
        self._unanswered[appid] = self._unanswered[appid] + 1 if left is None else 0
        if left is None:
            return wait_after(self._unanswered[appid], OFTEN, self._every, 1.0)
        saved = await self._save(appid, left, asked if left <= self._reserve else None)
        now, last = self._clock.monotonic(), self._last.get(appid)
        self._last[appid] = now, left
        if not saved or last is None or left > last[1]:
            return min(self._every, OFTEN)
        at, before = last
        return min(self._every, ask_again_in(left - self._reserve, before - left, now - at, OFTEN))

    async def _save(self, appid: str, left: int, asked: float | None = None) -> bool:
        """Keep the rest for ends until the day ends in which was asked (monotonic seconds); None: no longer.
        Another dispatcher may have been first. Whether the store answered."""
        try:
            until = 0 if asked is None else await self._day_end(appid, asked)
            news = await self._store.save_quota(appid, until)
        except (StoreUnavailable, StoreRejected) as error:
            LOG.warning("the reserve could not be written", appid=appid, error=str(error), every=SELDOM)
            return False
        if news and until:
            LOG.warning("the rest of today's quota is kept for ends", appid=appid, left=left)
        elif news:
            LOG.info("the quota is there for all cards again", appid=appid, left=left)
        return True

    async def _day_end(self, appid: str, asked: float) -> int:
        """By the database's clock, as everything that is to wait until then."""
        _, now = await self._store.gate(appid)
        return day_end(now - round((self._clock.monotonic() - asked) * SECOND))
