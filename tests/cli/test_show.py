"""`livecard show`: the words a person on call reads."""

from typing import Any

import pytest

from contracts.times import SECOND
from services.cli.show import explain
from services.runtime.settings import Settings

NOW = 1_790_000_000 * SECOND


def seen(**changes: Any) -> dict[str, Any]:
    """What the store answers for an open activity of two, one of them done and delivered."""
    card = {
        "appid": "wx1",
        "template": "complete",
        "state": "open",
        "revision": 2,
        "settled": 2,
        "settled_as": "delivered",
        "shown": 1,
        "look_at": 0,
        "retry_at": 0,
        "attempts": 0,
        "lease_until": 0,
        "lease_by": "",
        "suspect_at": None,
        "verdict": "",
        "final": False,
        "behind_since": None,
        "expires_at": NOW + 86_400 * SECOND,
        "end_known_at": None,
        "failing_since": None,
        **changes.pop("card", {}),
    }
    return {
        "activity": {
            "activity_id": "a-1",
            "title": "团建",
            "state": card["state"],
            "reason": "",
            "choose": "listed",
            "participants": 2,
            "deadline": NOW + 3600 * SECOND,
            "notice": 600 * SECOND,
            "expires_at": NOW + 86_400 * SECOND,
            "due_at": NOW + 3000 * SECOND,
            **changes.pop("activity", {}),
        },
        "card": card,
        "members": {"pending": 1, "done": 1, "late": 0, "owed": 0, "confirmed": 1, "set_aside": []},
        "gate": None,
        "parked": {"events": 0, "since": None},
        "attempts": [],
        "now": NOW,
        **changes,
    }


BEHIND = {"revision": 3, "behind_since": NOW - 5 * SECOND}
ENDING = {**BEHIND, "state": "ended", "end_known_at": NOW - 70 * SECOND}
FAILING = {"failing_since": NOW - 20 * SECOND, "attempts": 2}
OWED = {"members": {"pending": 0, "done": 2, "late": 0, "owed": 1, "confirmed": 1, "set_aside": []}}


def test_the_next_try_is_when_the_last_hold_is_gone() -> None:
    """A gate that opens before the backoff is over, and one that opens after it."""
    for gate, retry, told in ((10, 40, "(in 40 s)"), (50, 40, "(in 50 s)")):
        closed = {
            "closed_until": NOW + gate * SECOND,
            "reason": "minute_limit",
            "errcode": 45011,
            "errmsg": "limited",
        }
        card = {**BEHIND, "retry_at": NOW + retry * SECOND, "attempts": 3}
        lines = list(explain(seen(card=card, gate=closed), Settings()))
        assert [line for line in lines if "tried next" in line and line.endswith(told)], lines
        assert any("the gate of wx1 is closed" in line for line in lines)
        assert any("3 tries in a row failed" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["a-1 团建 is open", "1 of 2 listed", "1人已完成", "nothing is owed", "no call was made yet"]),
        ({"card": BEHIND}, ["behind by 1 revision since", "(5 s ago)", "due now"]),
        ({"card": {**BEHIND, "look_at": NOW + SECOND}}, ["looked at a moment ago", "tried next", "(in 1 s)"]),
        (
            {"card": {**BEHIND, "retry_at": NOW + 30 * SECOND, "attempts": 4}},
            ["4 tries in a row failed", "tried next", "(in 30 s)"],
        ),
        (
            {"card": {**BEHIND, "lease_until": NOW + 20 * SECOND, "lease_by": "dispatcher-1"}},
            ["dispatcher-1 holds it", "lease ends"],
        ),
        (
            {
                "card": BEHIND,
                "gate": {
                    "closed_until": NOW + 7200 * SECOND,
                    "reason": "daily_limit",
                    "errcode": 45009,
                    "errmsg": "reach max api daily quota limit",
                },
            },
            ["gate of wx1 is closed", "(in 2 h)", "calls of today", "45009"],
        ),
        (
            {
                "card": BEHIND,
                "gate": {"closed_until": NOW * 2, "reason": "unknown_app", "errcode": 0, "errmsg": ""},
            },
            ["no secret is configured"],
        ),
        (
            {"card": {"verdict": "rejected"}},
            ["given up until", "livecard redeliver", "rejected the request itself"],
        ),
        ({"card": {"verdict": "unknown_activity", "final": True}}, ["given up for good", "47501"]),
        ({"card": {**BEHIND, "verdict": "unknown_code"}}, ["due now"]),
        (
            {"card": {"suspect_at": NOW - 10 * SECOND}},
            ["unknown outcome", "is repeated", "next", "(in 20 s)"],
        ),
        ({"card": {**BEHIND, "suspect_at": NOW - 10 * SECOND}}, ["repeated after that", "due now"]),
        (
            {"card": {**BEHIND, "lease_until": NOW - 20 * SECOND, "lease_by": "dispatcher-1"}},
            ["dispatcher-1 held it and never came back", "(20 s ago)", "due now"],
        ),
        ({"card": {**BEHIND, "expires_at": NOW - SECOND}}, ["its id died", "no more calls"]),
        (
            {"card": {**ENDING, **FAILING, "retry_at": NOW + 5 * SECOND}, **OWED},
            ["the end waits for the 1 owed", "40 s more", "goes without them", "tried next", "(in 5 s)"],
        ),
        ({"card": ENDING, **OWED}, ["the end waits for the 1 owed", "as long as WeChat takes", "(in 24 h)"]),
        (
            {"card": {**ENDING, **FAILING, "failing_since": NOW - 60 * SECOND, "retry_at": NOW}, **OWED},
            ["the end goes without the 1 owed", "due now"],
        ),
        (
            {
                "members": {
                    "pending": 0,
                    "done": 3,
                    "late": 1,
                    "owed": 1,
                    "confirmed": 1,
                    "set_aside": ["gp-x"],
                }
            },
            ["owed 1", "1 came late", "given up until `livecard redeliver a-1`: gp-x"],
        ),
        (
            {"activity": {"state": ""}, "parked": {"events": 2, "since": NOW - 600 * SECOND}},
            ["has not been opened", "2 events wait", "dead letter", "(in 50 min)"],
        ),
        (
            {"activity": {"state": ""}},
            [
                "has not been opened",
                "no event waits",
                "may be dead letters",
                "livecard replay --activity a-1",
            ],
        ),
        (
            {
                "attempts": [
                    {
                        "at": NOW - 3 * SECOND,
                        "target_state": 1,
                        "members": 7,
                        "outcome": "busy",
                        "errcode": -1,
                        "errmsg": "system error rid: 1-2-3",
                        "duration": 45_000,
                    }
                ]
            },
            ["state 1, 7 members → busy errcode -1 system error rid: 1-2-3 (45 ms)"],
        ),
    ],
)
def test_it_says_why_and_when(changes: dict[str, Any], words: list[str]) -> None:
    """Every reason for which a card is held back is named, with the time of the next try."""
    text = "\n".join(explain(seen(**changes), Settings()))
    for word in words:
        assert word in text, text
