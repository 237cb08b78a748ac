"""`livecard quota`: what WeChat says of today's calls of each app, and how long they last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from contracts.times import MINUTE
from contracts.wechat import Quota
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.show import moment
from services.cli.tables import print_table, table
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer
from statemachine.quota import used_up_at

SPAN: Final = 10 * MINUTE
"""The time whose calls say how fast it goes."""
MOST: Final = 1_000_000
"""Calls of that time that are counted."""


async def quota(settings: Settings, out: Console, appids: Sequence[str]) -> int:
    """Ask for each app that the apps file names, or for these; 1 where WeChat does not tell of one."""
    apps, clock = AppBook.load(settings), RealClock()
    if not apps.appids():
        raise CommandError("no app is named here: set LIVECARD_APPS_FILE or LIVECARD_APPS")
    if unknown := sorted({*appids} - {*apps.appids()}):
        raise CommandError(f"the apps file does not name {', '.join(unknown)}")
    now = clock.wall()
    async with opened_store(settings) as store:
        lately = {each.appid: each.calls for each in await store.calls_between(now - SPAN, now, MOST)}
    client = WeChatClient.of(settings, apps, clock)
    made = table("appid", "calls a day", "used", "left", "last 10 min", "used up")
    failed = 0
    try:
        for appid in sorted({*appids}) or apps.appids():
            found = await client.quota(appid)
            failed += isinstance(found, Answer)
            made.add_row(*map(Text, _row(appid, found, lately.get(appid, 0), now)))
    finally:
        await client.close()
    print_table(out, made)
    return 1 if failed else 0


def _row(appid: str, found: Quota | Answer, lately: int, now: int) -> tuple[str, ...]:
    if isinstance(found, Answer):
        code = "" if found.errcode is None else f"{found.errcode} "
        return (
            appid,
            "?",
            "?",
            "?",
            str(lately),
            f"WeChat does not tell: {code}{found.errmsg or found.verdict}",
        )
    at = used_up_at(found.remain, found.used, lately, SPAN, now)
    until = "not today, at this rate" if at is None else moment(at, now)
    return (appid, str(found.daily_limit), str(found.used), str(found.remain), str(lately), until)
