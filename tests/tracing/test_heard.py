"""Which traces a call belongs to: those whose revisions it brings to the card, and no others."""

from __future__ import annotations

from services.tracing.heard import MOST_EACH, Heard, HeardTraces


def heard(*revisions: int, most: int = 10) -> HeardTraces[str]:
    made = HeardTraces[str](most)
    for revision in revisions:
        made.add("a", Heard(revision, f"trace-{revision}", revision))
    return made


def contexts(found: list[Heard[str]]) -> list[str]:
    return [each.context for each in found]


def test_a_call_covers_what_is_not_settled_up_to_what_its_claim_saw() -> None:
    """What comes after the claim waits for the next one."""
    known = heard(2, 3, 4)
    assert contexts(known.of("a", 2, 3)) == ["trace-3"]
    assert contexts(known.of("a", 3, 4)) == ["trace-4"]
    assert contexts(known.of("a", 4, 5)) == []
    assert len(known) == 0


def test_a_call_that_is_repeated_belongs_to_them_again() -> None:
    known = heard(2)
    assert contexts(known.of("a", 1, 2)) == contexts(known.of("a", 1, 2)) == ["trace-2"]


def test_another_activity_has_none() -> None:
    assert heard(2).of("b", 0, 9) == []


def test_it_stays_small_and_the_oldest_go_first() -> None:
    """Cards that another process calls, and one that is nudged for ever behind a closed gate."""
    known = heard(2, most=3)
    for name in "bcd":
        known.add(name, Heard(2, name, 0))
    assert len(known) == 3
    assert known.of("a", 0, 9) == []
    for revision in range(100):
        known.add("d", Heard(revision, "", 0))
    assert len(known.of("d", 0, 100)) == MOST_EACH
