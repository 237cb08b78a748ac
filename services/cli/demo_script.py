"""The demo's play: three group tasks, who does what when, and what WeChat gets wrong meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from contracts.times import SECOND, format_rfc3339
from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from services.simulator.acting import PEOPLE
from services.simulator.cards import Declaration
from services.simulator.faults import Action, Match, Rule

APPID: Final = "wx1"
PUBLISHER: Final = "gp-cindy"
NAMES: Final = PEOPLE
OUTING, TEA, REPORT = "demo-outing", "demo-tea", "demo-report"
OUTING_DEADLINE: Final = 21.0
OUTING_NOTICE: Final = 9
"""Seconds after the start, and before the deadline."""


@dataclass(frozen=True)
class Step:
    """At `at` seconds: say `text`; send `event` (type, activity, data, id); strike with `fault`."""

    at: float
    text: str
    event: tuple[str, str, dict[str, Any], str] | None = None
    happened: float | None = None
    fault: Rule | None = None
    act: str = ""


@dataclass(frozen=True)
class Expected:
    """What a card must show at the end of the play."""

    target_state: int
    done: frozenset[str]


@dataclass
class Play:
    """The steps in order, and what must have come of them."""

    steps: list[Step] = field(default_factory=list)

    def at(self, seconds: float, text: str, **what: Any) -> None:
        """Append one step."""
        self.steps.append(Step(seconds, text, **what))


EXPECTED: Final = {
    OUTING: Expected(3, frozenset({"gp-alex", "gp-bob", "gp-dora", "gp-evan"})),
    TEA: Expected(3, frozenset({"gp-alex", "gp-dora", "gp-evan"})),
    REPORT: Expected(3, frozenset({"gp-alex", "gp-bob"})),
}


def declarations(expires_at: int) -> list[Declaration]:
    """What the mini program's page does before any event: share the three cards into the chat."""
    common: dict[str, Any] = {
        "appid": APPID,
        "publisher": PUBLISHER,
        "names": NAMES,
        "members": tuple(NAMES),
        "expires_at": expires_at,
    }
    return [
        Declaration(
            activity_id=OUTING,
            template="complete",
            title="团建报名统计",
            participants=("gp-alex", "gp-bob", "gp-dora", "gp-evan", "gp-fay"),
            **common,
        ),
        Declaration(activity_id=TEA, template="participate", title="奶茶拼单", choose="everyone", **common),
        Declaration(
            activity_id=REPORT,
            template="complete",
            title="周报收集",
            participants=("gp-alex", "gp-bob"),
            **common,
        ),
    ]


def play(start: int, expires_at: int) -> Play:
    """The whole play; `start` and `expires_at` in µs."""
    p = Play()
    opened = {
        "appid": APPID,
        "publisher": PUBLISHER,
        "expires_at": format_rfc3339(expires_at),
        "room": {"opengid": "g-1"},
    }
    p.at(
        0.0,
        "阿力 answers before the activity's `opened` has arrived: parked",
        event=("participant.completed", OUTING, {"members": ["gp-alex"]}, "early"),
    )
    p.at(
        1.0,
        f"团建报名统计 opens for five, deadline in {OUTING_DEADLINE - 1:.0f} s: the early answer counts",
        event=(
            "activity.opened",
            OUTING,
            {
                **opened,
                "template": "complete",
                "title": "团建报名统计",
                "participants": ["gp-alex", "gp-bob", "gp-dora", "gp-evan", "gp-fay"],
                "deadline": format_rfc3339(start + int(OUTING_DEADLINE * SECOND)),
                "notice": OUTING_NOTICE,
            },
            "open-1",
        ),
    )
    p.at(
        1.5,
        "奶茶拼单 opens for everyone",
        event=(
            "activity.opened",
            TEA,
            {**opened, "template": "participate", "title": "奶茶拼单", "choose": "everyone"},
            "open-2",
        ),
    )
    p.at(
        2.0,
        "周报收集 opens; it closes by itself when both are done",
        event=(
            "activity.opened",
            REPORT,
            {
                **opened,
                "template": "complete",
                "title": "周报收集",
                "participants": ["gp-alex", "gp-bob"],
                "close_when_complete": True,
            },
            "open-3",
        ),
    )
    p.at(3.5, "WeChat will answer the next call with -1 (busy)", fault=_once(OUTING, Action(errcode=-1)))
    p.at(4.0, "小波 completes", event=("participant.completed", OUTING, {"members": ["gp-bob"]}, "bob"))
    p.at(
        5.5,
        "WeChat will apply the next call and cut the connection",
        fault=_once(TEA, Action(apply_then_cut=True)),
    )
    p.at(
        6.0,
        "three join the order",
        event=("participant.completed", TEA, {"members": ["gp-alex", "gp-dora", "gp-evan"]}, "join"),
    )
    p.at(7.5, "the access token is revoked", act="revoke")
    p.at(8.0, "朵拉 completes", event=("participant.completed", OUTING, {"members": ["gp-dora"]}, "dora"))
    p.at(
        9.0,
        "小波's event comes once more: a repeat",
        event=("participant.completed", OUTING, {"members": ["gp-bob"]}, "bob"),
    )
    p.at(
        10.0,
        "both hand in their reports",
        event=("participant.completed", REPORT, {"members": ["gp-alex", "gp-bob"]}, "both"),
    )
    p.at(12.0, "the deadline is near: the clock moves 团建报名统计 by itself")
    p.at(13.0, "WeChat will hang on the next call to 奶茶拼单", fault=_once(TEA, Action(apply_then_hang=5.0)))
    p.at(
        13.5,
        "the order is closed by its publisher",
        event=("activity.closed", TEA, {"note": "已下单"}, "close"),
    )
    p.at(
        15.0,
        "伊凡 completes in the last seconds",
        event=("participant.completed", OUTING, {"members": ["gp-evan"]}, "evan"),
    )
    p.at(
        17.0,
        "somebody who is not on the list tries: refused",
        event=("participant.completed", OUTING, {"members": ["gp-zed"]}, "zed"),
    )
    p.at(OUTING_DEADLINE, "the deadline: the clock ends 团建报名统计")
    p.at(
        OUTING_DEADLINE + 2,
        "菲菲 was in time, but her event comes late: recorded, not delivered",
        event=("participant.completed", OUTING, {"members": ["gp-fay"]}, "fay"),
        happened=OUTING_DEADLINE - 1,
    )
    return p


def event_json(step: Step, start: int, at: int) -> bytes:
    """The CloudEvent of a step; `time` is when it happened."""
    assert step.event is not None
    kind, activity_id, data, name = step.event
    time = at if step.happened is None else start + int(step.happened * SECOND)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": name,
            "source": "/demo",
            "type": f"livecard.{kind}",
            "subject": activity_id,
            "time": format_rfc3339(time),
            "data": data,
        }
    )


def readers(view: dict[str, Any]) -> list[tuple[str, str]]:
    """The participants' nicknames with what each reads; the publisher has a line of her own."""
    rows = view["participants"].items()
    return [(NAMES.get(member, member), text) for member, text in rows if member != PUBLISHER]


def _once(activity_id: str, action: Action) -> Rule:
    return Rule(action=action, match=Match(path=SET_CHAT_TOOL_MSG_PATH, activity_id=activity_id), count=1)
