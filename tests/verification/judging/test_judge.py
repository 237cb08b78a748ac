"""The judge finds nothing wrong where nothing is, and each single thing that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from contracts.changes import Change, ParticipantDone, decode_change, encode_change
from contracts.events import Completed, EventData, Opened
from contracts.times import SECOND
from tests.verification.judging.judge import (
    FATES,
    first_occurrences,
    judge_card,
    judge_changes,
    judge_ledger,
    judge_outcomes,
)
from tests.verification.judging.sent import Sent
from tests.verification.lives.wire import cloud_event, event

NOW = 1_790_000_000 * SECOND


@dataclass
class Card:
    """What the chat shows."""

    target_state: int = 1
    posts: dict[str, int] = field(default_factory=lambda: {"ann": 1})
    lowered: int = 0


class Found:
    """What an honest run leaves of one activity: ann is done, zoe is refused."""

    def __init__(self) -> None:
        opened = Opened(
            appid="wx1", template="complete", expires_at=NOW + 3600 * SECOND, participants=("ann",)
        )
        self.sent = Sent()
        datas: tuple[EventData, ...] = (opened, Completed(("ann",)), Completed(("zoe",)))
        for number, data in enumerate(datas):
            self.sent.add(cloud_event(event("/s", f"e{number}", "a", NOW, data)), NOW)
        self.expected = self.sent.reference.expected("a")
        self.outcomes = dict(self.expected.outcomes)
        self.changes = [Change(f"c{n}", "a", NOW, data) for n, data in enumerate(self.expected.published)]
        self.card = Card()
        self.fates = Counter(applied=2, refused=1)
        self.ledger: dict[str, Any] = {
            "events": {"taken": 3, "repeats": 1, **{fate: self.fates[fate] for fate in FATES}},
            "revisions": {"raised": 2, "pending": 0},
            "problems": [],
        }

    def wrong(self) -> list[str]:
        return [
            *judge_outcomes(self.outcomes, self.expected.outcomes),
            *judge_changes(self.changes, self.expected),
            *judge_card(self.card, self.expected),
            *judge_ledger(self.ledger, self.fates, 2, repeats=1),
        ]


def test_nothing_is_wrong_with_an_honest_run() -> None:
    found = Found()
    assert found.wrong() == []
    assert found.sent.wrong({"a": found.card}, found.ledger, NOW) == []
    assert found.sent.events == 3


DOCTORED: dict[str, tuple[Callable[[Found], Any], str]] = {
    "an event lost": (lambda run: run.outcomes.pop(("/s", "e1")), "event /s e1 was never taken in"),
    "another outcome": (
        lambda run: run.outcomes.update({("/s", "e2"): ("refused", "ended")}),
        "event /s e2 became refused ended, should be refused not_listed",
    ),
    "a change lost": (lambda run: run.changes.pop(), "2 changes were published, should be 3"),
    "changes swapped": (lambda run: run.changes.reverse(), "its change 1 says"),
    "a lower state": (lambda run: setattr(run.card, "target_state", 3), "the card shows 3, should show 1"),
    "a member lost": (lambda run: run.card.posts.clear(), "the card does not show ['ann'] as done"),
    "a member too many": (lambda run: run.card.posts.update(zoe=1), "the card shows ['zoe'] as done"),
    "a fate": (lambda run: run.ledger["events"].update(late=1), "the ledger: events late: 1, should be 0"),
    "a repeat": (lambda run: run.ledger["events"].update(repeats=0), "the ledger: events repeats: 0, should"),
    "a revision": (lambda run: run.ledger["revisions"].update(raised=3), "revisions raised: 3, should be 2"),
    "pending": (
        lambda run: run.ledger["revisions"].update(pending=1),
        "the ledger: revisions pending: 1, should be 0",
    ),
    "a problem": (lambda run: run.ledger["problems"].append("no sum"), "the ledger: no sum"),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_one_thing_that_is_wrong_is_found(what: str) -> None:
    found, (doctor, sentence) = Found(), DOCTORED[what]
    doctor(found)
    (wrong,) = found.wrong()
    assert sentence in wrong


def test_whom_a_card_cannot_show_or_need_not() -> None:
    """A member who is not in the room must not be shown; one who was skipped may be."""
    expected = Found().expected
    for posts, wrong in (({}, 0), ({"ann": 1}, 1)):
        assert len([*judge_card(Card(posts=posts), expected, absent={"ann"})]) == wrong
        assert not [*judge_card(Card(posts=posts), expected, skipped={"ann"})]
    assert not [*judge_card(Card(2), expected, lowest=2)]


def test_a_repeat_that_says_something_else_is_wrong() -> None:
    one, other = (encode_change("c1", "a", NOW, ParticipantDone((name,))) for name in ("ann", "bob"))
    changes, wrong = first_occurrences((decode_change(each), each) for each in (one, one, other))
    assert [each.data for each in changes] == [ParticipantDone(("ann",))]
    assert wrong == ["change c1 was published with two contents"]


def test_without_an_order_all_must_be_there() -> None:
    found = Found()
    found.changes.reverse()
    assert not [*judge_changes(found.changes, found.expected, ordered=False)]
    found.changes.pop()
    assert [*judge_changes(found.changes, found.expected, ordered=False)]
