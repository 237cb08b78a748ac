"""What is wrong with the outcomes, the changes, the card and the ledger, each as the reference says. Every
tool collects them in its own way, and adds what only it can ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from contracts.changes import (
    ActivityChanged,
    CardExpiring,
    Change,
    ChangeData,
    EventRefused,
    ParticipantDone,
)
from tests.verification.model.facts import Expected, Key, Result

FATES: Final = ("applied", "duplicate", "late", "refused", "dead", "parked")
OF_STATES: Final = (ActivityChanged, CardExpiring, ParticipantDone, EventRefused)
"""What the reference knows; the other changes tell of deliveries."""


class Shown(Protocol):
    """A card in the chat: its state, and how often each member was posted."""

    @property
    def target_state(self) -> int: ...

    @property
    def posts(self) -> Mapping[str, int]: ...


def judge_outcomes(found: Mapping[Key, Result], wanted: Mapping[Key, Result]) -> Iterator[str]:
    """Each event has the outcome that it should."""
    for key, outcome in wanted.items():
        if key not in found:
            yield f"event {_words(key)} was never taken in, should be {_words(outcome)}"
        elif found[key] != outcome:
            yield f"event {_words(key)} became {_words(found[key])}, should be {_words(outcome)}"


def first_occurrences(published: Iterable[tuple[Change, bytes]]) -> tuple[list[Change], list[str]]:
    """Changes without their repeats, and what is wrong with a repeat: it says something else."""
    firsts: dict[str, tuple[Change, bytes]] = {}
    wrong = []
    for change, value in published:
        if firsts.setdefault(change.id, (change, value))[1] != value:
            wrong.append(f"change {change.id} was published with two contents")
    return [change for change, _ in firsts.values()], wrong


def judge_changes(
    published: Iterable[Change], expected: Expected, *, deliveries: bool = True, ordered: bool = True
) -> Iterator[str]:
    """First occurrences are all that the reference tells, in order. `deliveries`: others are among them."""
    said: list[ChangeData] = [each.data for each in published]
    if deliveries:
        said = [each for each in said if isinstance(each, OF_STATES)]
    wanted: list[ChangeData] = [*expected.published]
    if not ordered:
        said, wanted = sorted(said, key=repr), sorted(wanted, key=repr)
    for place, (one, other) in enumerate(zip(said, wanted, strict=False), 1):
        if one != other:
            yield f"its change {place} says {one}, should say {other}"
            return
    if len(said) != len(wanted):
        yield f"{len(said)} changes were published, should be {len(wanted)}"


def judge_card(
    card: Shown,
    expected: Expected,
    *,
    absent: Collection[str] = (),
    skipped: Collection[str] = (),
    lowest: int = 1,
) -> Iterator[str]:
    """The card shows the state, and who is done. `absent`: whom it cannot show; `skipped`: whom it need not;
    `lowest`: below which WeChat did not let it go."""
    target, done = max(expected.target_state, lowest), expected.done.difference(absent)
    if card.target_state != target:
        yield f"the card shows {card.target_state}, should show {target}"
    if lacking := sorted(done - card.posts.keys() - set(skipped)):
        yield f"the card does not show {lacking} as done"
    if wrong := sorted(card.posts.keys() - done):
        yield f"the card shows {wrong} as done"


def fates_of(lives: Iterable[Expected]) -> Counter[str]:
    """How many events should have come to each outcome."""
    return Counter(outcome for expected in lives for outcome, _ in expected.outcomes.values())


def judge_ledger(
    ledger: Mapping[str, Any],
    fates: Mapping[str, int],
    revisions: int,
    *,
    repeats: int | None = None,
    delivering: bool = True,
) -> Iterator[str]:
    """It balances, counts what was counted outside, and nothing is on its way any more. `repeats` None: how
    many there were is not known; `delivering`: there is a dispatcher."""
    for problem in ledger["problems"]:
        yield f"the ledger: {problem}"
    wanted = {("events", fate): fates.get(fate, 0) for fate in FATES}
    wanted |= {("events", "taken"): sum(fates.values()), ("revisions", "raised"): revisions}
    if repeats is not None:
        wanted["events", "repeats"] = repeats
    if delivering:
        wanted["revisions", "pending"] = 0
    for (part, what), count in wanted.items():
        if ledger[part][what] != count:
            yield f"the ledger: {part} {what}: {ledger[part][what]}, should be {count}"


def _words(parts: Sequence[str]) -> str:
    return " ".join(filter(None, parts))
