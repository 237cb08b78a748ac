"""The judgement on a record: each event once, each card as the reference says, each change told, no repeat
without a cause. Pure, so that it can be shown doctored records and must see through them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from contracts.changes import CardDelivered, CardFailed, Change
from tests.verification.chaos.arrivals import first_arrivals, follow
from tests.verification.chaos.granted import judge_wishes
from tests.verification.chaos.record import Record, Shown
from tests.verification.chaos.repeats import Repeats, count_repeats
from tests.verification.chaos.story import story
from tests.verification.judging.judge import (
    first_occurrences,
    judge_card,
    judge_changes,
    judge_ledger,
    judge_outcomes,
)
from tests.verification.model.facts import Expected

if TYPE_CHECKING:
    from tests.verification.chaos.run import Outcome

STORIES = 3
"""So many cards' stories are told when something is wrong."""
DETAILS = re.compile(r"\d+|gp-\S+")


@dataclass(frozen=True)
class Wrong:
    """Something that is not as it should be, of one activity or of the whole ("")."""

    activity_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.activity_id}: {self.what}" if self.activity_id else self.what


@dataclass
class Verdict:
    """`wrong` is empty when all is right; `lost` of it is what should be there and is not."""

    wrong: list[Wrong] = field(default_factory=list)
    lost: int = 0
    wrong_cards: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    repeats: Repeats = field(default_factory=Repeats)

    def blame(self, activity_id: str, what: str) -> None:
        """One more."""
        self.wrong.append(Wrong(activity_id, what))


def judge(record: Record) -> Verdict:
    """Look at everything."""
    verdict = Verdict()
    for problem in record.problems:
        verdict.blame("", problem)
    revisions = 0
    for name in sorted(record.cards):
        expected = _one(record, name, verdict)
        revisions += expected.revision
        verdict.outcomes.update(outcome for outcome, _ in expected.outcomes.values())
    for name in sorted(record.arrivals.keys() - record.cards.keys()):
        verdict.blame(name, "the topic has events of it, and nobody declared it")
    for name, what in judge_wishes(record):
        verdict.blame(name, what)
    _ledger(record, revisions, verdict)
    verdict.repeats = count_repeats(record)
    for name, what in verdict.repeats.unexplained:
        verdict.blame(name, what)
    return verdict


def _one(record: Record, name: str, verdict: Verdict) -> Expected:
    firsts = first_arrivals(record, name)
    published, wrong = first_occurrences((each.change, each.value) for each in record.changes[name])
    expected = follow(record, name, firsts, published)
    taken = {
        key: (record.taken[key].outcome, record.taken[key].reason)
        for key in expected.outcomes.keys() & record.taken.keys()
    }
    wrong += judge_outcomes(taken, expected.outcomes)
    wrong += judge_changes(published, expected)
    card = record.cards[name]
    wrong_card = [
        *judge_card(card, expected, absent=expected.done - card.room),
        *_delivered(card, published, expected),
    ]
    for what in wrong + wrong_card:
        verdict.blame(name, what)
    verdict.wrong_cards += bool(wrong_card)
    verdict.lost += len(expected.outcomes) - len(taken)
    return expected


def _delivered(card: Shown, published: list[Change], expected: Expected) -> Iterator[str]:
    """What was told of deliveries: rising revisions up to the last, and each member once.

    Who is not in the room is told as rejected instead.
    """
    told = [each.data for each in published if isinstance(each.data, CardDelivered)]
    failed = [each.data for each in published if isinstance(each.data, CardFailed)]
    outside: set[str] = set()
    for each in failed:
        named = set(each.members or ())
        if each.verdict == "rejected" and named and not named & card.room:
            outside |= named
        elif each.verdict != "misconfigured":  # an app refused for a while is told, and healed
            yield f"its delivery failed: {each}"
    if outside != expected.done - card.room:
        yield f"{sorted(outside ^ (expected.done - card.room))} should have been told as rejected"
    revisions = [each.revision for each in told]
    again = any(each.revision == last.revision and not each.members for last, each in pairwise(told))
    if again or revisions != sorted(revisions):
        yield f"deliveries were told out of order: {revisions}"
    if expected.revision > 1 and revisions[-1:] != [expected.revision]:
        yield f"revision {expected.revision} was never told as delivered: {revisions}"
    members = Counter(member for each in told for member in each.members)
    wanted = Counter(expected.done & card.room)
    if members != wanted:
        odd = sorted({*(members - wanted), *(wanted - members)})
        yield f"{odd} were not told as delivered just once"


def _ledger(record: Record, revisions: int, verdict: Verdict) -> None:
    """The inside's account, in itself and against the outside's."""
    ledger = record.ledger
    distinct = len({(each.event.source, each.event.id) for log in record.arrivals.values() for each in log})
    books = {
        "events sent, and distinct ones in the topic": (record.events, distinct),
        "distinct events in the topic, and with an outcome": (distinct, verdict.outcomes.total()),
        "events in the inbox, and in the ledger": (len(record.taken), ledger["events"]["taken"]),
    }
    for what, (outside, inside) in books.items():
        if outside != inside:
            verdict.blame("", f"the ledger: {what}: {outside} and {inside}")
    for what in judge_ledger(ledger, verdict.outcomes, revisions):
        verdict.blame("", what)
    verdict.lost += max(0, record.events - distinct)
    if ledger["events"]["repeats"] < record.records - distinct:
        repeats = record.records - distinct
        verdict.blame("", f"the ledger: {repeats} repeats in the topic, {ledger['events']['repeats']} seen")


def report(outcome: Outcome, verdict: Verdict) -> list[str]:
    """What was done and what came of it, for people."""
    record, repeats = outcome.record, verdict.repeats
    lines = [
        f"seed {record.seed}: {outcome.kills} kills; "
        + ", ".join(f"{what} {count}" for what, count in sorted(outcome.done.items())),
        f"{len(record.cards)} activities, {record.events} distinct events in {record.records} records: "
        + ", ".join(f"{count} {fate}" for fate, count in sorted(verdict.outcomes.items())),
        _of_the_api(outcome),
        f"{sum(map(len, record.calls.values()))} calls; quiet after {outcome.calm:.0f} s of calm",
        *repeats.lines(),
        f"{verdict.lost} lost, {verdict.wrong_cards} wrong cards, "
        + ("the ledger does not balance" if _unbalanced(verdict) else "the ledger balances"),
    ]
    if verdict.wrong:
        lines += ["", "WRONG:", *(str(each) for each in verdict.wrong[:30])]
        for name in _first_of_each_kind(verdict.wrong)[:STORIES]:
            lines += ["", f"THE STORY OF {name}:", *story(record, name)]
        options = f"--seed {record.seed} --seconds {outcome.seconds:g} --activities {outcome.activities}"
        lines += ["", f"again: python -m tests.verification.chaos {options}"]
    return lines


def _of_the_api(outcome: Outcome) -> str:
    return (
        f"{outcome.wishes} wishes at the API, {outcome.repeated} requests repeated; "
        f"{outcome.caught} times the gateways were killed as WeChat had given an id"
    )


def _first_of_each_kind(wrong: Sequence[Wrong]) -> list[str]:
    """Activities in which something else went wrong than in those before."""
    kinds: dict[str, str] = {}
    for each in wrong:
        if each.activity_id:
            kinds.setdefault(DETAILS.sub("", each.what), each.activity_id)
    return list(dict.fromkeys(kinds.values()))


def _unbalanced(verdict: Verdict) -> bool:
    return any(each.what.startswith("the ledger") for each in verdict.wrong)
