"""What is left of each app's quota is asked in turn, and goes on being asked."""

from __future__ import annotations

import asyncio

from services.dispatcher.quotas import QuotaWatch
from tests.dispatcher.scripted import ScriptedWeChat
from tests.dispatcher.world import BookOfApps, in_virtual_time


@in_virtual_time()
async def test_every_app_is_asked_about_once_in_a_while() -> None:
    """So many seconds for all of them together; an app that is named later is asked about, too."""
    wechat, apps = ScriptedWeChat(), BookOfApps(["wx1", "wx2"])
    asking = asyncio.create_task(QuotaWatch(wechat, apps, 300.0).run())
    await asyncio.sleep(601)
    assert wechat.quota_asked == 4
    apps.known = set()
    await asyncio.sleep(600)
    assert wechat.quota_asked <= 6
    before = wechat.quota_asked
    apps.known = {"wx3"}
    await asyncio.sleep(601)
    assert wechat.quota_asked > before
    asking.cancel()
