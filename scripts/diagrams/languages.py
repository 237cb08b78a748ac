"""The words of the generated tables and diagrams: English as the code has them, and the same in Chinese."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scripts.diagrams.metrics_in_chinese import METRICS

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
    **METRICS,
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
    "a repair is refused, and another call is in doubt by now": "补发被拒绝，而此间另一次调用又存疑",
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
    # events.md, attributes and heads of tables
    "structured mode": "structured 模式",
    "header in binary mode": "binary 模式的消息头",
    "required: always": "要求（全部必填）",
    "means": "含义",
    "field": "字段",
    "required": "必填",
    "is": "取值",
    "left out": "缺省值",
    "always": "总有",
    "header": "消息头",
    "yes": "是",
    "the version of CloudEvents": "CloudEvents 的版本",
    "`(source, id)` makes the event unique: sent again, it counts once": (
        "`(source, id)` 唯一标识一个事件：重复发送只计一次"
    ),
    "who publishes it, such as `/signup`": "由谁发布，例如 `/signup`",
    "one of the types below; another one is dead-lettered": "下列类型之一；其他类型进入死信",
    "the `activity_id`; also the record's key": "即 `activity_id`，也是消息的 key",
    "when it happened, by the producer's clock; a time in the future counts as now": (
        "事情发生的时间，以生产者的时钟为准；晚于当前的时间按当前时间计"
    ),
    "the record's value": "消息的 value",
    "an object, by type": "对象，内容由类型决定",
    "`data_base64` holds it as JSON in base64": "也可以把这段 JSON 以 base64 放在 `data_base64` 里",
    # events.md, what belongs where
    '"1.0"': '"1.0"',
    "a string of 1–128 characters without control characters": "1–128 个字符的字符串，不含控制字符",
    "a non-empty string": "非空字符串",
    "a time in RFC 3339 with an offset, years 2000–2100": "RFC 3339 时间，带时区偏移，年份为 2000–2100",
    "a time in RFC 3339 with an offset, years 2000–2100, or null": (
        "RFC 3339 时间，带时区偏移，年份为 2000–2100；或 null"
    ),
    '"complete" or "participate"': '"complete" 或 "participate"',
    '"release", "develop" or "trial"': '"release"、"develop" 或 "trial"',
    '"listed" or "everyone"': '"listed" 或 "everyone"',
    "a string of at most 1000 characters without NUL": "最多 1000 个字符的字符串，不含 NUL",
    "a string of at most 4000 characters without NUL": "最多 4000 个字符的字符串，不含 NUL",
    "an object with exactly one of opengid and open_single_roomid": (
        "对象，opengid 与 open_single_roomid 有且只有一个"
    ),
    "an array of strings": "字符串数组",
    "an array of 1 to 500 strings": "1 到 500 个字符串的数组",
    "an integer from 0 to 604800 (seconds)": "0 到 604800 的整数（秒）",
    "true or false": "true 或 false",
    # events.md, events and their fields
    "An activity opened: its card is in the chat.": "活动开启：卡片已经在聊天里。",
    "the mini program whose card it is": "卡片所属的小程序",
    "what the card asks for: to complete, or to take part": "卡片邀请大家做什么：完成任务，或参与",
    "when the `activity_id` dies, as WeChat said": "`activity_id` 的失效时间，以微信返回的为准",
    "which version of the mini program the card opens": "点开卡片时进入小程序的哪个版本",
    "for people who look at livecard; WeChat has its own": "给查看 livecard 的人看；微信另有自己的标题",
    "`group_openid` of who sent the card": "发送卡片的人的 `group_openid`",
    "the chat the card was sent to": "卡片发到了哪个聊天",
    "of a group chat": "群聊",
    "of a private chat": "单聊",
    "who takes part: `participants`, or everyone in the chat": "谁参与：`participants`，或聊天里的所有人",
    "`group_openid`s, for `choose`: `listed`; repeats count once": (
        "若干 `group_openid`，用于 `choose` 为 `listed` 时；重复的只计一次"
    ),
    "when the activity ends; null: no deadline": "活动的截止时间；null 表示没有",
    "seconds before its end at which the card says that it is near": "结束前多少秒，卡片开始显示即将截止",
    "seconds before its end at which the card says that it is near; left out: 3600": (
        "结束前多少秒，卡片开始显示即将截止；省略时为 3600"
    ),
    "`activity_id` of an earlier card of the same app and room that this one continues: its members, those "
    "of them who are done, deadline and notice are this one's unless they are given here, and it ends; of a "
    "card that has ended only the members": (
        "本卡片所接续的、同一小程序同一聊天里较早卡片的 `activity_id`：它的成员、其中已完成的人、截止时间与"
        "提醒时间都沿用到本卡片，除非在此另行给出，而它随即结束；已经结束的卡片只沿用成员"
    ),
    "end the activity when all `participants` are done": "`participants` 全部完成时结束活动",
    "The deadline moved.": "截止时间变更。",
    "as in `opened`; null or left out: the notice stays as it is": "同 `opened`；null 或省略表示保持不变",
    "The activity was closed by its owner.": "活动被其所有者关闭。",
    "why, for people; livecard does not read it": "关闭的原因，给人看；livecard 不读取",
    "These members did what the card asks for.": "这些成员做了卡片邀请他们做的事。",
    "These members did what the card asks for; `members`, `openids` or both.": (
        "这些成员做了卡片邀请他们做的事；用 `members`、`openids` 或两者写明。"
    ),
    "`group_openid`s; repeats count once": "若干 `group_openid`；重复的只计一次",
    "These members take part from now on (for `choose`: `listed`).": (
        "这些成员从现在起参与（用于 `choose` 为 `listed` 时）。"
    ),
    "These members take part from now on (for `choose`: `listed`); `members`, `openids` or both.": (
        "这些成员从现在起参与（用于 `choose` 为 `listed` 时）；用 `members`、`openids` 或两者写明。"
    ),
    "`openid`s of people of the activity's room, who are members once they are bound there; repeats count "
    "once": "活动所在聊天里的人的 `openid`，他们在那里绑定之后即为成员；重复的只计一次",
    # the changes of events.md
    "integer": "整数",
    "string": "字符串",
    "array of strings": "字符串数组",
    "null": "null",
    ", or ": "，或 ",
    "`source`, `id` and `type` of the event": "该事件的 `source`、`id` 与 `type`",
    "`previous` is null at opening; `participants` (a count, like `done`) is null for everyone.": (
        "开启时 `previous` 为 null；`participants`（与 `done` 一样是人数）在活动面向所有人时为 null。"
    ),
    "`warnings`: `deadline_after_expiry`, `close_when_complete_ignored`, `participants_ignored`, and "
    "`unknown_field:NAME` for the first ten fields of the event that do not exist.": (
        "`warnings`：`deadline_after_expiry`、`close_when_complete_ignored`、`participants_ignored`，以及事件里"
        "前十个不存在的字段，各写作 `unknown_field:NAME`。"
    ),
    "`members` are done from now on, in time or late.": "`members` 自此已完成，无论按时还是迟到。",
    "`members` are those this revision delivered; `calls` is how many calls it took, maybe none.": (
        "`members` 是这个修订送达的成员；`calls` 是为此发出的调用次数，可能为 0。"
    ),
    "More than 500 members come in several changes of the same revision; the first one counts the calls.": (
        "成员超过 500 人时，分成同一修订的多条变更；调用次数记在第一条里。"
    ),
    "More than 500 members come in several changes of the same revision; the first one counts the calls. "
    "Whom a late answer confirmed comes in one more of the last revision.": (
        "成员超过 500 人时，分成同一修订的多条变更；调用次数记在第一条里。由迟到的应答确认的成员，在最后一个"
        "修订的另一条变更里。"
    ),
    "`members` is left out when nobody in particular is concerned; `rid` is for WeChat's support.": (
        "不涉及具体的人时没有 `members`；`rid` 供联系微信客服时使用。"
    ),
    "More than 500 members come in several changes.": "成员超过 500 人时，分成多条变更。",
    "`members` lists whom the refusal concerns, and is left out when it concerns the whole event.": (
        "`members` 列出被拒绝的人；整个事件被拒绝时没有这个字段。"
    ),
    "The activity is open, and its `activity_id` dies at `expires_at` (RFC 3339, UTC): told once, a notice "
    "before. Whoever wants it to go on opens another one that `continues` it.": (
        "活动仍在进行，而它的 `activity_id` 将在 `expires_at`（RFC 3339，UTC）失效：提前一段时间通知一次。"
        "要让活动继续，请开启另一个以 `continues` 接续它的活动。"
    ),
    # events.md, dead letters
    "what is wrong and where, in the producer's terms": "错在哪里、错了什么，用生产者的说法",
    "of the record": "原消息所在的 topic",
    "of the record, in decimal": "原消息的分区号或位移，十进制",
    "when it was dead-lettered": "进入死信的时间",
    "only of a letter that came without its value, since it was too large: its bytes": (
        "仅当死信因过大而不带内容时才有：内容的字节数"
    ),
    "of the value that is missing": "所缺内容的 SHA-256",
    # operations.md, what a million cards cost
    "where": "哪里",
    "how much": "多少",
    "what it takes": "占用",
    "events": "个事件",
    "timers": "个定时器",
    "calls": "次调用",
    "rows": "行",
    "records": "条记录",
    "days": "天",
    "s of one core": "秒（一个核心）",
    "s of SQL": "秒（SQL）",
}
