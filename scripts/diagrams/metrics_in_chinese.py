"""The words of docs/metrics.md in Chinese."""

from __future__ import annotations

from typing import Final

METRICS: Final = {
    "metric": "指标",
    "kind": "类型",
    "labels": "标签",
    "counter": "计数器",
    "gauge": "仪表",
    "histogram": "直方图",
    # sections
    "Events taken in (lifecycle)": "摄入的事件（lifecycle）",
    "Cards and revisions (lifecycle, clock, dispatcher)": "卡片与修订（lifecycle、clock、dispatcher）",
    "Timers (clock)": "定时器（clock）",
    "Changes out (lifecycle, clock, dispatcher, gateway)": (
        "发布的变更（lifecycle、clock、dispatcher、gateway）"
    ),
    "Calls to WeChat (dispatcher)": "对微信的调用（dispatcher）",
    "Apps (dispatcher, gateway)": "小程序（dispatcher、gateway）",
    "What waits, in the whole database (every process)": "整个数据库里等待的内容（每个进程）",
    "The process, and its database (every process)": "进程与它的数据库（每个进程）",
    "The API (gateway)": "API（gateway）",
    # events taken in
    "Distinct events taken in, by type and by what became of them.": "已摄入的不同事件，按类型与结局。",
    "Events that came again and changed nothing; a jump after a crash or a rebalance is normal.": (
        "再次到来、没有改变任何东西的事件；崩溃或 rebalance 之后突增是正常的。"
    ),
    "Records given up, by lifecycle or (`parked_too_long`) by the clock, by reason.": (
        "被放弃的记录，由 lifecycle 或（`parked_too_long`）由 clock 放弃，按原因。"
    ),
    "Records in one transaction; small batches are normal when there is little to do.": (
        "一个事务里的记录数；事情少的时候批次小是正常的。"
    ),
    "How long a batch took, its dead letters and offsets included.": "一个批次的耗时，包括死信与位移。",
    "Attempts at a batch that failed, by what it waits for.": "失败的批次尝试次数，按它在等什么。",
    "Records of activity.events not taken in yet, in the partitions of this process.": (
        "activity.events 里尚未摄入的记录，限于本进程的分区。"
    ),
    "Offset up to which activity.events can be read: the first of an open transaction, else the end.": (
        "activity.events 可以读到的位移：未结束事务的第一条，否则为末尾。"
    ),
    "Records from there on, which an open transaction of a producer holds back.": (
        "从那里开始、被生产者未结束的事务挡住的记录。"
    ),
    "Offsets of activity.events that retention deleted before they were read.": (
        "activity.events 中还没被读取就被保留策略删除的位移数。"
    ),
    "Nudges not handed over; each costs up to one poll (`LIVECARD_SWEEP`) of latency.": (
        "没有交出去的 nudge；每个最多带来一次轮询（`LIVECARD_SWEEP`）的延迟。"
    ),
    # cards and revisions
    "Revisions raised: changes of what a card should show, each opening included.": (
        "产生的修订：卡片应显示内容的变化，包括每次开启。"
    ),
    "Revisions settled, by what became of them; `superseded` ones were jumped over by a later one. "
    "Delivered and superseded ones together, by delivered ones, are the coalescing factor.": (
        "已了结的修订，按结局；`superseded` 被更新的修订越过。送达与被越过的之和，除以送达的，即合并系数。"
    ),
    "States that WeChat confirmed once more after an unknown outcome.": "结果不明之后，微信再次确认的状态。",
    # timers
    "How long after its due time a timer fired.": "定时器比应有时刻晚了多久。",
    "Rows deleted by age, by table.": "按时间删除的行数，按表。",
    # changes out
    "Rows of the outbox that the broker acknowledged, by topic.": "broker 已确认的 outbox 行，按 topic。",
    "Rounds of the relay that failed and are repeated.": "失败并会重复的 relay 轮次。",
    # calls
    "Calls by verdict and code; `errcode` is `none` without an answer, `other` where undocumented.": (
        "调用，按判定与错误码；没有应答时 `errcode` 为 `none`，没有文档的为 `other`。"
    ),
    "The same by app. A thousand apps at most, further ones together as `other`; a series begins with its "
    "first call.": "同上，按小程序。最多一千个，其余合计为 `other`；序列从第一次调用开始。",
    "How long a call took.": "一次调用的耗时。",
    "Calls that WeChat may or may not have applied.": "微信可能已生效、也可能没有生效的调用。",
    "Members sent again after one of those.": "在这样的调用之后再次发送的成员。",
    "Cards claimed for a call.": "为调用而认领的卡片。",
    "Results that came after the fence had moved on.": "栅栏令牌（fence）已经前移之后才到的结果。",
    "Results settled in one transaction.": "每个写回事务里的结果数。",
    "Calls in flight in this process.": "本进程在途的调用数。",
    "How many of them an app may have here: 4 after a closing, doubled by each success; none for an app that "
    "the apps file does not name.": (
        "其中一个小程序在此可占多少：关闭之后为 4，每次成功加倍；apps 文件没有写到的小程序没有这一项。"
    ),
    # apps
    "Unix time until which what is left of an app's quota is kept for ends (`LIVECARD_QUOTA_RESERVE`); "
    "in the past, or no series: all its cards are called.": (
        "小程序剩余的配额留给结束状态、直到此 Unix 时间（`LIVECARD_QUOTA_RESERVE`）；"
        "已过去或没有序列：照常调用它的全部卡片。"
    ),
    "Tokens that WeChat refused before their time, since somebody else refreshed them.": (
        "因为别人刷新而被微信提前拒绝的 token 数。"
    ),
    "Access tokens asked for, by what WeChat answered; `no_token`: nothing of use.": (
        "申请 access token 的次数，按微信的回答；`no_token` 表示没有可用的回答。"
    ),
    "Calls of setChatToolMsg that an app has left today, as quota/get last said. Every dispatcher asks about "
    "each app, every `LIVECARD_QUOTA_PROBE`.": (
        "小程序今天还剩的 setChatToolMsg 调用次数，以 quota/get 最近一次的回答为准。每个 dispatcher 每隔 "
        "`LIVECARD_QUOTA_PROBE` 对每个小程序询问一次。"
    ),
    "Calls of setChatToolMsg that an app has a day, as quota/get last said.": (
        "小程序每天的 setChatToolMsg 调用次数，以 quota/get 最近一次的回答为准。"
    ),
    # what waits
    "Undelivered cards.": "未送达的卡片。",
    "How long the oldest of them has been undelivered.": "其中最久的已有多久未送达。",
    "Events ahead of their `opened`.": "比自己的 `opened` 先到的事件。",
    "How long the oldest of them has waited.": "其中最久的已等了多久。",
    "Changes not published yet.": "尚未发布的变更。",
    "How old the oldest of them is.": "其中最旧的有多旧。",
    "Timers that should have fired.": "本应触发的定时器。",
    "How late the oldest of them is.": "其中最久的迟了多久。",
    "People whom events name by an openid that is not bound in the activity's room; they are told at their "
    "binding. Many for hours: the page does not bind its users.": (
        "被事件以在活动所在群里尚未绑定的 openid 写到的人数；绑定时才会告知。"
        "数量很多并持续数小时：页面没有绑定用户。"
    ),
    "How long the first of them has waited.": "其中最早的人已等了多久。",
    "People whose openid is known in a room.": "在某个群里 openid 已知的人数。",
    "Unix time until which an app's gate is closed, and why; in the past, or 0: open. A thousand "
    "apps at most: those that WeChat refuses first, `unknown_app` last.": (
        "小程序的闸门关闭到的 Unix 时间与原因；已过去或为 0 表示打开。最多一千个小程序：微信拒绝的在前，"
        "`unknown_app` 在后。"
    ),
    "Unix time at which all this was read last; it stands still while the database is away.": (
        "最近一次读取以上内容的 Unix 时间；数据库不可用时停住不动。"
    ),
    "How long the oldest card that a dispatcher may take has been due. Cards that back off, and "
    "those behind a closed gate, are not: what this tells, more dispatchers shorten.": (
        "dispatcher 可以认领的卡片中，最久的已到期多久。"
        "退避中的、闸门关闭的不算：增加 dispatcher 能缩短的正是它。"
    ),
    # the process and its database
    "1 while `/readyz` answers 200, else 0.": "`/readyz` 答 200 时为 1，否则为 0。",
    "How long a statement took, by its name in the code, the way to the database included.": (
        "一条语句的耗时，按它在代码里的名字，包括到数据库的往返。"
    ),
    # the API
    "Requests by route and status; without a route: an unknown path, or turned away before one was looked "
    "for.": "请求，按路由与状态码；没有路由的：路径未知，或在查找路由之前就被拒绝。",
    "Time to the first byte of the answer, by route.": "到回答第一个字节的时间，按路由。",
    "Requests under way in this process, streams included; 503 with `Retry-After` beyond 100 that are worked "
    "on.": "本进程正在处理的请求，包括打开的流；同时处理超过 100 个时答 503 与 `Retry-After`。",
    "Activity ids that callers wanted of WeChat: what its answer meant, `closed` (the gate), "
    "`paused` (a limit of this call, kept by this process).": (
        "调用方向微信申请的 activity id：微信的回答是什么意思，或 `closed`（闸门关闭）、"
        "`paused`（该接口的限额，由本进程记住）。"
    ),
    "Logins of users: what WeChat's answer meant, `refused` (the code), `paused` (a limit).": (
        "用户登录：微信的回答是什么意思，或 `refused`（code 无效）、`paused`（限额）。"
    ),
    "Streams of an activity's changes that are open here.": "本进程打开的活动变更流。",
    "Streams that ended, because the client `left`, its key was `revoked`, it was too `slow` to "
    "read, changes were lost (`gap`), or the process `drained`.": (
        "已结束的流，按原因：客户端离开（`left`）、密钥被撤销（`revoked`）、读得太慢（`slow`）、变更丢失（`gap`）、"
        "进程排空（`drained`）。"
    ),
}
