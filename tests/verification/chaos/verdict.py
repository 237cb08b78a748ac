"""The judgement on a record: each event once, each card as the reference says, each change told, no repeat
without a cause. Pure, so that it can be shown doctored records and must see through them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.changes import ActivityChanged, CardDelivered, CardFailed, EventRefused, ParticipantDone
from tests.verification.chaos.arrivals import first_arrivals, follow
from tests.verification.chaos.record import Key, Published, Record
from tests.verification.chaos.repeats import Repeats, count_repeats
from tests.verification.chaos.story import story
from tests.verification.model.reference import Expected

if TYPE_CHECKING:
    from tests.verification.chaos.run import Outcome

KNOWN = (ActivityChanged, ParticipantDone, EventRefused)
STORIES = 3
"""So many cards' stories are told when something is wrong."""
DETAILS = re.compile(r"\d+|gp-\S+")
FATES = ("applied", "duplicate", "late", "refused", "dead", "parked")


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
    _ledger(record, revisions, verdict)
    verdict.repeats = count_repeats(record)
    for name, what in verdict.repeats.unexplained:
        verdict.blame(name, what)
    return verdict


def _one(record: Record, name: str, verdict: Verdict) -> Expected:
    firsts = first_arrivals(record, name)
    lost = _taken(record, name, [(each.event.source, each.event.id) for each in firsts], verdict)
    published = _changes(record.changes[name], name, verdict)
    said = tuple(each.change.data for each in published if isinstance(each.change.data, KNOWN))
    expected = follow(record, name, firsts, published)
    _outcomes(record, expected, name, verdict)
    if said != expected.published:
        verdict.blame(name, _difference(said, expected.published))
    before = len(verdict.wrong)
    _card(record, name, expected, verdict)
    _delivered(record, published, name, expected, verdict)
    verdict.wrong_cards += len(verdict.wrong) > before
    verdict.lost += lost
    return expected


def _taken(record: Record, name: str, keys: list[Key], verdict: Verdict) -> int:
    """Every event of the topic is in the inbox; how many are not."""
    lost = [key for key in keys if key not in record.taken]
    for source, number in lost:
        verdict.blame(name, f"event {source} {number} is in the topic, and was never taken in")
    return len(lost)


def _changes(published: list[Published], name: str, verdict: Verdict) -> list[Published]:
    """What was published, without repeats; a repeat says the same."""
    seen: dict[str, Published] = {}
    for each in published:
        first = seen.setdefault(each.change.id, each)
        if first.value != each.value:
            verdict.blame(name, f"change {each.change.id} was published with two contents")
    return list(seen.values())


def _outcomes(record: Record, expected: Expected, name: str, verdict: Verdict) -> None:
    for key, outcome in expected.outcomes.items():
        taken = record.taken.get(key)
        if taken is not None and (taken.outcome, taken.reason) != outcome:
            found = f"{taken.outcome} {taken.reason}".strip()
            verdict.blame(name, f"event {key[1]} became {found}, should be {' '.join(outcome).strip()}")


def _difference(said: tuple[object, ...], wanted: tuple[object, ...]) -> str:
    for place, (one, other) in enumerate(zip(said, wanted, strict=False)):
        if one != other:
            return f"its change {place + 1} says {one}, should say {other}"
    return f"{len(said)} changes were published, should be {len(wanted)}"


def _card(record: Record, name: str, expected: Expected, verdict: Verdict) -> None:
    card = record.cards[name]
    done = expected.done & card.room
    if card.target_state != expected.target_state:
        verdict.blame(name, f"the card shows {card.target_state}, should show {expected.target_state}")
    lacking, wrong = sorted(done - card.posts.keys()), sorted(card.posts.keys() - done)
    if lacking:
        verdict.blame(name, f"the card does not show {lacking} as done")
    if wrong:
        verdict.blame(name, f"the card shows {wrong} as done")


def _delivered(
    record: Record, published: list[Published], name: str, expected: Expected, verdict: Verdict
) -> None:
    """What was told of deliveries: rising revisions up to the last, and each member once.

    Who is not in the room is told as rejected instead.
    """
    room = record.cards[name].room
    told = [each.change.data for each in published if isinstance(each.change.data, CardDelivered)]
    failed = [each.change.data for each in published if isinstance(each.change.data, CardFailed)]
    outside: set[str] = set()
    for each in failed:
        named = set(each.members or ())
        if each.verdict == "rejected" and named and not named & room:
            outside |= named
        elif each.verdict != "misconfigured":  # an app refused for a while is told, and healed
            verdict.blame(name, f"its delivery failed: {each}")
    if outside != expected.done - room:
        verdict.blame(name, f"{sorted(outside ^ (expected.done - room))} should have been told as rejected")
    revisions = [each.revision for each in told]
    if revisions != sorted(set(revisions)):
        verdict.blame(name, f"deliveries were told out of order: {revisions}")
    if expected.revision > 1 and revisions[-1:] != [expected.revision]:
        verdict.blame(name, f"revision {expected.revision} was never told as delivered: {revisions}")
    members = Counter(member for each in told for member in each.members)
    wanted = Counter(expected.done & room)
    if members != wanted:
        odd = sorted({*(members - wanted), *(wanted - members)})
        verdict.blame(name, f"{odd} were not told as delivered just once")


def _ledger(record: Record, revisions: int, verdict: Verdict) -> None:
    """The inside's account, in itself and against the outside's."""
    ledger = record.ledger
    for problem in ledger["problems"]:
        verdict.blame("", f"the ledger: {problem}")
    distinct = len({(each.event.source, each.event.id) for log in record.arrivals.values() for each in log})
    books = {
        "events sent, and distinct ones in the topic": (record.events, distinct),
        "distinct events in the topic, and taken in": (distinct, ledger["events"]["taken"]),
        "events in the inbox, and in the ledger": (len(record.taken), ledger["events"]["taken"]),
        "revisions by the reference, and raised": (revisions, ledger["revisions"]["raised"]),
        "revisions pending": (0, ledger["revisions"]["pending"]),
        **{f"events {fate}": (verdict.outcomes[fate], ledger["events"][fate]) for fate in FATES},
    }
    for what, (outside, inside) in books.items():
        if outside != inside:
            verdict.blame("", f"the ledger: {what}: {outside} and {inside}")
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
        f"{sum(map(len, record.calls.values()))} calls; quiet after {outcome.calm:.0f} s of calm",
        *repeats.lines(),
        f"{verdict.lost} lost, {verdict.wrong_cards} wrong cards, "
        + ("the ledger does not balance" if _unbalanced(verdict) else "the ledger balances"),
    ]
    if verdict.wrong:
        lines += ["", "WRONG:", *(str(each) for each in verdict.wrong[:30])]
        for name in _first_of_each_kind(verdict.wrong)[:STORIES]:
            lines += ["", f"THE STORY OF {name}:", *story(record, name)]
        options = f"--seed {record.seed} --seconds {outcome.seconds:g} --activities {len(record.cards)}"
        lines += ["", f"again: python -m tests.verification.chaos {options}"]
    return lines


def _first_of_each_kind(wrong: Sequence[Wrong]) -> list[str]:
    """Activities in which something else went wrong than in those before."""
    kinds: dict[str, str] = {}
    for each in wrong:
        if each.activity_id:
            kinds.setdefault(DETAILS.sub("", each.what), each.activity_id)
    return list(dict.fromkeys(kinds.values()))


def _unbalanced(verdict: Verdict) -> bool:
    return any(each.what.startswith("the ledger") for each in verdict.wrong)
