"""A hostile topic: whatever stands between good events, each record has one fate, and the right one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest

from contracts.decode import Dead, decode
from tests.verification.fuzz.evidence import Evidence
from tests.verification.fuzz.judge import judge
from tests.verification.fuzz.mix import AFTERWARDS, AGAIN, MENDED, OTHER, Mix
from tests.verification.fuzz.run import fuzz, report

SEED = 20261121
BEGIN = 1_795_248_000_000_000
RECORDS = 4_000


def test_the_topic_by_a_seed_is_the_same_each_time_and_has_everything() -> None:
    """The judge makes the records a second time instead of keeping them."""
    one, other = (islice(Mix(SEED, BEGIN).records(), RECORDS) for _ in range(2))
    kinds: Counter[str] = Counter()
    for each, again in zip(one, other, strict=True):
        assert each == again
        kinds[each.kind] += 1
    assert {"good", AGAIN, OTHER, MENDED, AFTERWARDS, *Mix(SEED, BEGIN).bad.kinds} == {*kinds}


def test_each_record_is_read_as_it_was_meant() -> None:
    """What a record says or why it says nothing is known to its maker, without livecard's decoder."""
    for each in islice(Mix(SEED + 1, BEGIN).records(), RECORDS):
        read = decode(each.message.value, each.message.headers)
        if isinstance(read, Dead):
            ids = (read.source, read.id) if read.source and read.id else None
            assert (read.reason, ids) == (each.reason, each.ids), each
        else:
            assert read == each.event


@pytest.mark.slow
async def test_every_record_is_accounted_for(kafka: str, postgres_database: str, topic_prefix: str) -> None:
    """Dead letters, refusals, states and the ledger of a real process; and the judge is not blind."""
    outcome = await fuzz(kafka, postgres_database, topic_prefix, RECORDS, SEED)
    told = "\n".join(report(outcome))
    print(told)
    assert not outcome.wrong, told
    assert sum(outcome.verdict.fates.values()) == RECORDS
    records = list(islice(Mix(SEED, outcome.evidence.begin).records(), RECORDS))
    for what, harm in HARMS.items():
        evidence = copy.deepcopy(outcome.evidence)
        harm(evidence)
        assert judge(records, evidence).wrong, what


def lose(name: str) -> Callable[[Evidence], None]:
    """One of these is missing."""
    return lambda evidence: getattr(evidence, name).popitem()


def other_reason(evidence: Evidence) -> None:
    """A letter tells another reason."""
    place, (_, content) = evidence.letters.popitem()
    evidence.letters[place] = "unprocessable", content


def other_bytes(evidence: Evidence) -> None:
    """A letter is not what its producer wrote."""
    place, (reason, _) = evidence.letters.popitem()
    evidence.letters[place] = reason, b""


def one_letter_too_many(evidence: Evidence) -> None:
    """A good event is dead-lettered, though it counts as well."""
    free = next(n for n in range(RECORDS) if (0, n) not in evidence.letters)
    evidence.letters[0, free] = "malformed", b""


def other_outcome(evidence: Evidence) -> None:
    """An event that was refused counts."""
    ids = next(ids for ids, (outcome, _) in evidence.inbox.items() if outcome == "refused")
    evidence.inbox[ids] = "applied", ""


def activity_lost(evidence: Evidence) -> None:
    """An activity's row is gone."""
    del evidence.states[next(name for name, state in evidence.states.items() if state.state)]


def member_lost(evidence: Evidence) -> None:
    """Somebody who is done is not."""
    next(state for state in evidence.states.values() if state.done).done.pop()


def change_lost(evidence: Evidence) -> None:
    """A change was not published."""
    next(changes for changes in evidence.changes.values() if changes).pop()


def repeat_uncounted(evidence: Evidence) -> None:
    """The ledger knows one repeat less."""
    evidence.ledger["events"]["repeats"] -= 1


HARMS: dict[str, Callable[[Evidence], None]] = {
    "a lost letter": lose("letters"),
    "an event lost": lose("inbox"),
    "a parked event lost": lose("parked"),
    "an activity lost": activity_lost,
    "another reason": other_reason,
    "other bytes": other_bytes,
    "a letter too many": one_letter_too_many,
    "another outcome": other_outcome,
    "a member lost": member_lost,
    "a change lost": change_lost,
    "a repeat uncounted": repeat_uncounted,
}
