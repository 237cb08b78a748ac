"""`livecard show`: the words a person on call reads."""

from typing import Any

import msgspec
import pytest

from contracts.times import SECOND
from services.cli.show import explain
from services.runtime.process import delivery_rules
from services.runtime.settings import Settings
from services.store.rows import Attempt, MemberCounts, Parked, Seen
from services.transactions.views import ActivityView, activity_view
from statemachine.card import Card
from statemachine.gate import Gate
from statemachine.model import Activity

NOW = 1_790_000_000 * SECOND
DIES = NOW + 86_400 * SECOND


def view(**changes: Any) -> ActivityView:
    """An open activity of two, one of them done and delivered, but for these changes."""
    card = Card("a-1", "wx1", "complete", "release", "open", revision=2, expires_at=DIES, settled=2, shown=1)
    activity = Activity(
        "a-1",
        state="open",
        participants=2,
        deadline=NOW + 3600 * SECOND,
        notice=600 * SECOND,
        expires_at=DIES,
    )
    fields: dict[str, Any] = {
        "activity": msgspec.structs.replace(activity, **changes.pop("activity", {})),
        "card": msgspec.structs.replace(card, **changes.pop("card", {})),
        "due_at": NOW + 3000 * SECOND,
        "title": "团建",
        "publisher": None,
        "opengid": None,
        "open_single_roomid": None,
        "seen_at": NOW,
        "opened_at": NOW,
        "members": MemberCounts(pending=1, done=1, confirmed=1),
        "gate": None,
        "parked": Parked(),
        "attempts": (),
        "now": NOW,
        **changes,
    }
    return activity_view(Seen(**fields), delivery_rules(Settings()))


DUE: dict[str, Any] = {"revision": 3, "behind_since": NOW - 5 * SECOND}
ENDING = {**DUE, "state": "ended", "end_by": NOW + 40 * SECOND}
BUSY = Attempt("a-1", 2, 1, NOW - 3 * SECOND, 45_000, 1, 7, "busy", -1, "system error rid: 1-2-3")


def closed(seconds: int, reason: str, errcode: int = 0, errmsg: str = "") -> Gate:
    """The gate of the card's app."""
    return Gate("wx1", NOW + seconds * SECOND, NOW, reason, errcode, errmsg)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["a-1 团建 is open", "1 of 2 listed", "1人已完成", "in_sync", "revision 2", "no call was made"]),
        ({"activity": {"state": "ended", "continued_by": "a-2"}}, ["it goes on as a-2"]),
        ({"card": DUE}, ["1 revision undelivered since", "(5 s ago)", "due now: a dispatcher takes it"]),
        ({"card": {**DUE, "throttled_until": NOW + SECOND}}, ["due: a plan went out", "(in 1 s)"]),
        (
            {"card": {**DUE, "retry_at": NOW + 30 * SECOND, "attempts": 4}, "attempts": (BUSY,)},
            ["4 tries in a row failed (the last one: busy -1)", "(in 30 s)"],
        ),
        (
            {"card": {**DUE, "lease_until": NOW + 20 * SECOND, "lease_by": "dispatcher-1"}},
            ["calling: dispatcher-1 has it, its lease ends", "(in 20 s)"],
        ),
        (
            {"card": {**DUE, "lease_until": NOW - 20 * SECOND, "lease_by": "dispatcher-1"}},
            ["calling: dispatcher-1 has it", "(20 s ago)", "a dispatcher takes it over"],
        ),
        (
            {"card": DUE, "gate": closed(7200, "daily_limit", 45009, "reach max api daily quota limit")},
            ["gate of wx1 is closed until", "(in 2 h)", "calls of today", "(45009: reach max"],
        ),
        ({"card": DUE, "gate": closed(10, "token")}, ["hands out no other", "(in 10 s)"]),
        ({"card": DUE, "gate": closed(1 << 30, "unknown_app")}, ["the apps file names it", "no secret is"]),
        ({"card": {"verdict": "rejected"}}, ["given_up until", "redeliver", "rejected the request itself"]),
        ({"card": {"verdict": "unknown_activity"}}, ["given_up", "47501"]),
        ({"card": {"verdict": "expired"}}, ["closed: its id is dead"]),
        ({"card": {"shown": 3, "may_show": 3, "state": "ended"}}, ["closed: WeChat shows the end"]),
        (
            {"card": {"doubt_at": NOW - 10 * SECOND}},
            ["uncertain: the state is repeated", "(in 20 s)", "unknown outcome"],
        ),
        ({"card": {**DUE, "doubt_at": NOW - 10 * SECOND}}, ["due now", "will be repeated"]),
        ({"card": {**DUE, "expires_at": NOW - SECOND}}, ["its id died", "the clock closes it"]),
        ({"card": {"cannot_lower": True}}, ["refused to go back from 2 to 1"]),
        (
            {"card": ENDING, "members": MemberCounts(done=2, owed=1, confirmed=1)},
            ["the end waits for the 1 owed from before it until", "(in 40 s)"],
        ),
        (
            {"members": MemberCounts(done=3, late=1, owed=1, confirmed=1, skipped=("gp-x",))},
            ["owed 1", "1 came late", "skipped until `livecard redeliver a-1`: gp-x"],
        ),
        (
            {"activity": {"state": ""}, "parked": Parked(2, NOW - 600 * SECOND)},
            ["has not been opened", "2 events wait", "dead letter", "(in 50 min)"],
        ),
        (
            {"activity": {"state": ""}},
            ["has not been opened", "no event waits", "dead letters", "livecard replay --activity a-1"],
        ),
        ({"attempts": (BUSY,)}, ["state 1, 7 members → busy errcode -1 system error rid: 1-2-3 (45 ms)"]),
    ],
)
def test_it_says_where_the_delivery_stands_and_why(changes: dict[str, Any], words: list[str]) -> None:
    """Every phase is named, with what holds the card back and until when."""
    text = "\n".join(explain(view(**changes), Settings()))
    for word in words:
        assert word in text, text


def test_the_view_tells_what_each_viewer_reads_by_what_wechat_confirmed() -> None:
    seen = view(card={"shown": 2}, members=MemberCounts(pending=1, done=2, owed=1, confirmed=1))
    assert seen.reads is not None
    assert msgspec.structs.astuple(seen.reads) == ("1人已完成", "已完成", "即将截止", "你无需完成")
