"""Every record has one fate, the right one; every activity is as the reference says. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.verification.fuzz.evidence import Evidence, Place, digest
from tests.verification.fuzz.makings import PARTITIONS, Ids, Planned
from tests.verification.judging.judge import judge_changes, judge_ledger, judge_outcomes
from tests.verification.model.facts import Expected
from tests.verification.model.reference import Reference

MOST_TOLD: Final = 30


@dataclass
class Verdict:
    """`kinds` and `fates` are over all records; `wrong` is empty when everything is right."""

    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    activities: int = 0
    wrong: list[str] = field(default_factory=list)
    blamed: int = 0

    def blame(self, what: str) -> None:
        """One more; the first are kept."""
        self.blamed += 1
        if len(self.wrong) < MOST_TOLD:
            self.wrong.append(what)


class _Books:
    """What the records should have come to, kept as they are read a second time."""

    def __init__(self, margin: int) -> None:
        self.reference = Reference(margin)
        self.dead: dict[Ids, str] = {}
        self.alive: dict[Ids, tuple[str, str]] = {}
        self.first: dict[Ids, bytes] = {}
        self.scattered: set[str] = set()
        self.homes: dict[str, int] = {}
        self.repeats = 0

    def bury(self, ids: Ids, reason: str) -> None:
        """A bad record: it counts, unless its ids did before."""
        if ids in self.alive or ids in self.dead:
            self.repeats += 1
        else:
            self.dead[ids] = reason

    def feed(self, planned: Planned, now: int) -> bool:
        """A readable one; whether it is more than a repeat."""
        event = planned.event
        assert event is not None
        ids = event.source, event.id
        if self.homes.setdefault(event.activity_id, planned.partition) != planned.partition:
            self.scattered.add(event.activity_id)
        if ids in self.alive:
            self.repeats += 1
            return False
        self.dead.pop(ids, None)
        self.reference.feed(event, now)
        self.alive[ids] = "", ""
        return True

    def keep(self, planned: Planned) -> None:
        """What must be found where it is parked."""
        event, message = planned.event, planned.message
        assert event is not None
        ids = event.source, event.id
        if self.reference.lives[event.activity_id].outcomes[ids][0] == "parked":
            self.first[ids] = digest(message.key, message.value, message.headers)


def judge(records: Iterable[Planned], evidence: Evidence) -> Verdict:
    """Look at everything; `records` are those that were sent, in order."""
    verdict, books = Verdict(), _Books(evidence.margin)
    for problem in evidence.problems:
        verdict.blame(problem)
    offsets = [0] * PARTITIONS
    letters = 0
    for number, each in enumerate(records):
        place = each.partition, offsets[each.partition]
        offsets[each.partition] += 1
        verdict.records += 1
        verdict.kinds[each.kind] += 1
        letter = evidence.letters.get(place)
        letters += letter is not None
        if each.event is None:
            books.bury(each.ids or ("", f"{evidence.topic}/{place[0]}/{place[1]}"), each.reason)
            _bad(each, place, letter, verdict)
            continue
        if letter is not None:
            verdict.blame(f"{_named(each, place)} was dead-lettered as {letter[0]}")
        if books.feed(each, evidence.begin + number):
            books.keep(each)
        else:
            verdict.fates["repeat"] += 1
    if letters != len(evidence.letters):
        verdict.blame(f"{len(evidence.letters) - letters} dead letters are of records that nobody sent")
    _outcomes(evidence, books, verdict)
    _activities(evidence, books, verdict)
    _ledger(evidence, books, verdict)
    return verdict


def _named(each: Planned, place: Place) -> str:
    value = each.message.value
    shown = "null" if value is None else f"{len(value)} bytes {value[:80]!r}"
    return f"partition {place[0]} offset {place[1]} ({each.kind}, ids {each.ids}, {shown})"


def _bad(each: Planned, place: Place, letter: tuple[str, bytes] | None, verdict: Verdict) -> None:
    """It has a letter, with this reason and everything that its producer wrote."""
    if letter is None:
        verdict.blame(f"UNACCOUNTED: {_named(each, place)} should be a dead letter: {each.reason}")
        return
    verdict.fates[f"dead: {letter[0]}"] += 1
    message = each.message
    if letter[0] != each.reason:
        verdict.blame(f"{_named(each, place)} is dead as {letter[0]}, should be {each.reason}")
    if letter[1] != digest(message.key, message.value, message.headers):
        verdict.blame(f"the dead letter of {_named(each, place)} is not what its producer wrote")


def _outcomes(evidence: Evidence, books: _Books, verdict: Verdict) -> None:
    """Each event once in the inbox, with its outcome; what is parked is all there."""
    for name in books.reference.lives:
        books.alive.update(books.reference.lives[name].outcomes)
    wanted = books.alive | {ids: ("dead", reason) for ids, reason in books.dead.items()}
    for what in judge_outcomes(evidence.inbox, wanted):
        verdict.blame(what)
    verdict.fates.update(
        ": ".join(filter(None, outcome))
        for ids, outcome in wanted.items()
        if outcome[0] != "dead" and evidence.inbox.get(ids) == outcome
    )
    for ids in list(evidence.inbox.keys() - wanted.keys())[:MOST_TOLD]:
        verdict.blame(f"{ids} was taken in, and nobody sent it")
    parked = {ids: books.first.get(ids) for ids, each in books.alive.items() if each[0] == "parked"}
    for ids in parked.keys() | evidence.parked.keys():
        if parked.get(ids) != evidence.parked.get(ids):
            verdict.blame(
                f"{ids} should {'' if ids in parked else 'not '}be parked, as its producer wrote it"
            )


def _activities(evidence: Evidence, books: _Books, verdict: Verdict) -> None:
    """Each as the reference says, with the changes that it says."""
    verdict.activities = len(books.reference.lives)
    for name in books.reference.lives:
        expected = books.reference.expected(name)
        state = evidence.states.get(name)
        if state is None:
            verdict.blame(f"activity {name!r} is nowhere")
            continue
        found = state.state, state.reason, state.revision, state.done, state.late
        wanted = expected.state, expected.reason, expected.revision, {*expected.done}, {*expected.late}
        if found != wanted:
            verdict.blame(f"activity {name!r} is {found}, should be {wanted}")
        if expected.listed is not None and state.listed != expected.listed:
            verdict.blame(f"activity {name!r} lists {state.listed}, should list {expected.listed}")
        if not _ended_then(state.ended_at, expected, evidence):
            verdict.blame(f"activity {name!r} ended at {state.ended_at}, should have at {expected.ended_at}")
        ordered = name not in books.scattered
        for what in judge_changes(
            evidence.changes.get(name, []), expected, deliveries=False, ordered=ordered
        ):
            verdict.blame(f"activity {name!r}: {what}")
    for name in evidence.states.keys() - books.reference.lives.keys():
        if not evidence.states[name].state:
            continue  # locked for an event that turned out to be a repeat: it says nothing, and is pruned
        verdict.blame(f"activity {name!r} is there, and nobody spoke of it")
    for name in list(evidence.changes.keys() - books.reference.lives.keys())[:MOST_TOLD]:
        verdict.blame(f"changes of {name!r} were published, and nobody spoke of it")


def _ended_then(found: int | None, expected: Expected, evidence: Evidence) -> bool:
    """At the same moment; the moment of arrival, which the reference is not told, is within the run."""
    if expected.ended_at is None or found is None or expected.ended_at < evidence.begin:
        return found == expected.ended_at
    return evidence.begin <= found <= evidence.end


def _ledger(evidence: Evidence, books: _Books, verdict: Verdict) -> None:
    """livecard's own account, in itself and against ours."""
    fates = Counter(outcome for outcome, _ in books.alive.values()) + Counter(dead=len(books.dead))
    revisions = sum(life.revision for life in books.reference.lives.values())
    for what in judge_ledger(evidence.ledger, fates, revisions, repeats=books.repeats, delivering=False):
        verdict.blame(what)
    accounted = sum(verdict.fates.values())
    if accounted != verdict.records:
        verdict.blame(f"{verdict.records} records were sent, {accounted} are accounted for")
