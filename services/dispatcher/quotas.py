"""Asks now and then what is left of each app's quota, for the metrics."""

from __future__ import annotations

import asyncio

from services.wechat.ports import Apps, WeChat


class QuotaWatch:
    """Asks about one app after the other, so that all are asked once in `every` seconds. The client tells the
    answers to telemetry; one that says nothing leaves the last."""

    def __init__(self, wechat: WeChat, apps: Apps, every: float) -> None:
        self._wechat, self._apps, self._every = wechat, apps, every

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            appids = self._apps.appids()
            for appid in appids:
                await asyncio.sleep(self._every / len(appids))
                await self._wechat.quota_left(appid)
            if not appids:
                await asyncio.sleep(self._every)
