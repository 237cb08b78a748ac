"""The words of the generated tables and diagrams: English as the code has them, and the same in Chinese."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Say = Callable[[str], str]
"""From the English words to those of the page."""


def english(words: str) -> str:
    """As they are."""
    return words


def chinese(words: str) -> str:
    """Raises ValueError for words that nobody has translated yet."""
    if words not in CHINESE:
        raise ValueError(f"no Chinese for {words!r}: write it into scripts/diagrams/languages.py")
    return CHINESE[words]


CHINESE: Final = {
    # states, phases, and the heads of tables
    "open": "open 进行中",
    "nearing": "nearing 即将截止",
    "ended": "ended 已结束",
    "unopened": "尚未打开",
    "pending": "pending 未完成",
    "done": "done 已完成",
    "in_sync": "in_sync 已一致",
    "due": "due 待投递",
    "calling": "calling 调用中",
    "uncertain": "uncertain 存疑",
    "given_up": "given_up 已放弃",
    "closed": "closed 已关闭",
    "trigger": "触发",
    "from": "从",
    "to": "到",
    "when": "条件",
    "event": "事件",
    "member": "成员",
    "viewer": "读者",
    "ended, `time` not after it": "ended 已结束，`time` 不晚于它",
    "ended, `time` after it": "ended 已结束，`time` 晚于它",
    # the activity and the participant
    "now ≥ end − notice; only if a deadline was given": "now ≥ end − notice；仅当给出了截止时间",
    "rescheduled so that now < end − notice": "改期之后 now < end − notice",
    "the end is reached, closed by event, complete, continued by another card, or the id expires": (
        "到达结束时刻、被事件关闭、全部完成、被另一张卡片接续，或 id 过期"
    ),
    "a completion names the member": "完成事件点名了该成员",
    # the delivery
    "a later revision": "有了更新的修订",
    "a later revision, called after this one": "有了更新的修订，在本次调用之后再投递",
    "the revision is dead or expired": "该修订作废或过期",
    "attempt_at is reached and the app's gate is open": "到达 attempt_at，且小程序的闸门打开",
    "nothing differs: delivered without a call": "没有差别：不用调用即视为送达",
    "the lease is over and nobody settled": "租约到期，没有人写回",
    "unsent, or the answer is about the app": "没有发出，或应答只关乎小程序",
    "as the row then is": "由那时的数据行决定",
    "busy, or the rest of a rejected list: at retry_at": "微信繁忙，或被拒名单的剩余部分：在 retry_at",
    "the outcome is unknown: backing off": "结果不明：退避",
    "a call was settled without its fence": "写回时已不持有栅栏令牌",
    "3 is shown and the id lives": "已显示 3，且 id 仍有效",
    "WeChat refuses this revision": "微信拒绝这个修订",
    "a later revision, or the end with members owed": "有了更新的修订，或结束时仍有待送达的成员",
    "a repair is refused: its doubt is dropped": "补发被拒绝：不再存疑",
    "an operator asks": "运维人员要求",
    "the id is dead, or another card continues this one": "id 已失效，或另一张卡片接续了它",
    # events and members in the tables of outcomes
    "`opened`, the first or the same again": "`opened`，第一个，或同样的再来一次",
    "`opened`, saying something else": "`opened`，内容不同",
    "the earlier card": "先前的卡片",
    "`opened` that continues it": "接续它的 `opened`",
    "; it is ended": "；它结束",
    "; it stays ended": "；它仍是已结束",
    "of another app or room": "属于另一个小程序或聊天",
    "`rescheduled` far ahead": "`rescheduled` 到很久以后",
    "`rescheduled` to within the notice": "`rescheduled` 到提醒期之内",
    "`rescheduled` into the past": "`rescheduled` 到过去",
    "`rescheduled` to no deadline": "`rescheduled` 为没有截止时间",
    "`rescheduled` with an older `time` than the last": "`rescheduled`，其 `time` 早于上一次改期",
    "`closed`": "`closed`",
    "`added`, somebody new": "`added`，新成员",
    "`added`, listed already": "`added`，早已在名单里",
    "`added` with `everyone`": "`added`，而活动是 `everyone`",
    "listed, pending": "在名单里，未完成",
    "listed, done": "在名单里，已完成",
    "not listed": "不在名单里",
    "everyone, not done yet": "`everyone`，尚未完成",
    "everyone, done": "`everyone`，已完成",
    "by openid, not bound in the room yet": "以 openid 写到，在群里尚未绑定",
    "by openid, the activity has no room": "以 openid 写到，而活动没有群",
    # outcomes
    "applied": "生效",
    "late": "迟到",
    "duplicate": "重复",
    "refused": "拒绝",
    "parked": "暂存",
    ", revision +": "，修订 +",
    ", no revision": "，没有修订",
    # who reads a card
    "publisher": "发布者",
    "participant, not done": "参与者，未完成",
    "participant, done": "参与者，已完成",
    "not a participant": "非参与者",
}
