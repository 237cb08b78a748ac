"""A WeChat that answers what a test says, and keeps what people would see."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import msgspec

from contracts.wechat import SetChatToolMsg, Verdict, verdict_of
from services.wechat.ports import Answer


class Sent(msgspec.Struct):
    """One call as WeChat saw it; `at` and `over` in seconds of the loop."""

    at: float
    appid: str
    activity_id: str
    target_state: int
    members: tuple[str, ...] | None
    over: float = 0.0
    errcode: int | None = None


Reply = int | str
"""An errcode, or: `hang` (no answer, not applied), `cut` (applied, then no answer)."""
Script = Callable[[Sent], Reply]


class ScriptedWeChat:
    """Answers what the script says, keeps what people would see, watches for two calls at once.

    `before_send`: seconds until it asks `may_send`. `hanging`: apps that get no answer; `tokenless`: apps for
    which no token can be fetched; `other_tokens`: apps for which there is another token now.
    """

    def __init__(self) -> None:
        self.calls: list[Sent] = []
        self.script: Script = lambda _: 0
        self.latency = 0.05
        self.shown: dict[str, int] = defaultdict(lambda: 1)
        self.posts: dict[tuple[str, str], int] = defaultdict(int)
        self.under_way: set[str] = set()
        self.most_at_once: dict[str, int] = defaultdict(int)
        self.now_at_once: dict[str, int] = defaultdict(int)
        self.quota: dict[str, int | None] = {}
        self.quota_asked = 0
        self.other_tokens: set[str] = set()
        self.tokens_asked: list[float] = []
        self.tokenless: set[str] = set()
        self.before_send = 0.0
        self.hanging: set[str] = set()

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self.before_send:
            await asyncio.sleep(self.before_send)
        if appid in self.tokenless:
            return Answer(Verdict.no_token, errmsg="no token: connection refused")
        if not may_send():
            return Answer(None)
        infos = message.participator_info_list
        names = None if infos is None else tuple(info.group_openid for info in infos)
        sent = Sent(loop.time(), appid, message.activity_id, message.target_state, names)
        assert sent.activity_id not in self.under_way, "two calls at once for one activity"
        self.under_way.add(sent.activity_id)
        self.calls.append(sent)
        self.now_at_once[appid] += 1
        self.most_at_once[appid] = max(self.most_at_once[appid], self.now_at_once[appid])
        try:
            reply = "hang" if appid in self.hanging else self.script(sent)
            if reply in (0, "cut"):
                self.shown[sent.activity_id] = sent.target_state
                for name in names or ():
                    self.posts[sent.activity_id, name] += 1
            silent = isinstance(reply, str)
            await asyncio.sleep(deadline - (loop.time() - began) if silent else self.latency)
        finally:
            sent.over = loop.time()
            self.under_way.discard(sent.activity_id)
            self.now_at_once[appid] -= 1
        if isinstance(reply, str):
            return Answer(Verdict.unknown, sent=True, errmsg="no answer in time")
        sent.errcode = reply
        errmsg = f"code {reply} rid: r-1"
        return Answer(verdict_of(reply), sent=True, errcode=reply, errmsg=errmsg, rid="r-1")

    async def has_other_token(self, appid: str) -> bool:
        self.tokens_asked.append(asyncio.get_running_loop().time())
        return appid in self.other_tokens

    async def quota_left(self, appid: str) -> int | None:
        self.quota_asked += 1
        return self.quota.get(appid)

    def of(self, activity_id: str) -> list[Sent]:
        return [call for call in self.calls if call.activity_id == activity_id]
