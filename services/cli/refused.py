"""`livecard show --rid`: the last call that WeChat refused, as its support wants to be told of it."""

from __future__ import annotations

from rich.console import Console

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.runtime.clock import RealClock
from services.runtime.settings import Settings
from services.store.rows import SHOWN_ATTEMPTS
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer
from services.wechat.support import support_text


async def tell(settings: Settings, out: Console, activity_id: str) -> None:
    """Ask WeChat, with the app's own token, and print the text; what we know ourselves comes in any case."""
    async with opened_store(settings) as store:
        owner = await store.owner(activity_id)
        tried = await store.attempts(activity_id, SHOWN_ATTEMPTS)
    refused = next((each for each in tried if each.rid and each.outcome != "ok"), None)
    if owner is None or refused is None:
        raise CommandError(
            f"none of the last {SHOWN_ATTEMPTS} calls of {activity_id!r} was refused with a rid: "
            f"`livecard show {activity_id}` tells of them"
        )
    apps = AppBook.load(settings)
    client = WeChatClient.of(settings, apps, RealClock())
    try:
        found = await client.request_of(owner.appid, refused.rid)
    finally:
        await client.close()
    missing = found if isinstance(found, Answer) else None
    text = support_text(
        owner.appid,
        SET_CHAT_TOOL_MSG_PATH,
        refused.rid,
        at=refused.at,
        errcode=refused.errcode,
        errmsg=refused.errmsg,
        found=None if isinstance(found, Answer) else found,
    )
    out.print(text, markup=False)
    if missing is not None:
        code = "" if missing.errcode is None else f" {missing.errcode}"
        out.print(f"WeChat told no more (rid/get:{code} {missing.errmsg or missing.verdict})", markup=False)
