"""Every settle with the fence, from every phase, and where it ends (design.md §6)."""

from __future__ import annotations

import pytest

from contracts.wechat import Verdict
from statemachine import delivery
from statemachine.card import (
    CALLING,
    CLOSED,
    DUE,
    EXPIRED,
    GIVEN_UP,
    IN_SYNC,
    UNCERTAIN,
    Card,
    Phase,
    attempt_at,
    phase,
)
from statemachine.states import ENDED, NEARING
from statemachine.step import Claimed, Owed, Result
from tests.statemachine.cards import (
    EXPIRES,
    IN,
    MINUTE,
    NOW,
    RULES,
    card_of,
    copy_of,
    due_card,
    failures,
    settled,
    settled_on,
    take,
)

PHASES = tuple(Phase)

SETTLES = {
    "release": None,
    "confirm": Verdict.ok,
    "retry": Verdict.busy,
    "doubt": Verdict.unknown,
    "give_up": Verdict.rejected,
}
"""A verdict for each trigger of a settle with the fence."""


@pytest.mark.parametrize("where", [each for each in PHASES if each is not CALLING])
@pytest.mark.parametrize("verdict", SETTLES.values(), ids=SETTLES)
def test_a_settle_with_the_fence_moves_only_a_card_that_calls(where, verdict):
    """In another phase the same result was settled before: only its answer was lost."""
    card = IN[where]()
    result = Result(copy_claimed(card), verdict, sent=verdict is not None)
    assert delivery.settle(card, result, NOW, RULES) is None


def copy_claimed(card: Card) -> Claimed:
    """A call that was claimed with the fence that the card has."""
    return Claimed(copy_of(LISTED.card, fence=card.fence), LISTED.call)


NEWS = take(due_card(NEARING))
LISTED = take(due_card(NEARING), ("ann",))
LONG = take(due_card(NEARING), [f"m{number}" for number in range(101)])
END = take(due_card(ENDED))
DOUBTED_END = take(due_card(ENDED, doubt_at=NOW - 1))
WAITING = take(due_card(ENDED), ("ann",))
REPAIR = take(IN[UNCERTAIN]())
REPAIR_OF_THE_END = take(card_of(ENDED, shown=3, may_show=3, doubt_at=NOW - RULES.repair_after))
LAST_UNKNOWN_CODE = take(due_card(ENDED, code_attempts=4), ("ann",))


@pytest.mark.parametrize(
    ("claimed", "trigger", "after", "after_later_news"),
    [
        (NEWS, "release", DUE, DUE),
        (REPAIR, "release", UNCERTAIN, DUE),
        (NEWS, "confirm", IN_SYNC, DUE),
        (LONG, "confirm", DUE, DUE),
        (take(due_card(NEARING, doubt_at=NOW - 1)), "confirm", UNCERTAIN, DUE),
        (END, "confirm", CLOSED, None),
        (DOUBTED_END, "confirm", UNCERTAIN, None),
        (WAITING, "confirm", DUE, None),
        (REPAIR, "confirm", IN_SYNC, DUE),
        (REPAIR_OF_THE_END, "confirm", CLOSED, None),
        (NEWS, "retry", DUE, DUE),
        (REPAIR, "retry", UNCERTAIN, DUE),
        (NEWS, "doubt", DUE, DUE),
        (REPAIR, "doubt", UNCERTAIN, DUE),
        (NEWS, "give_up", GIVEN_UP, DUE),
        (END, "give_up", GIVEN_UP, None),
        (REPAIR, "give_up", IN_SYNC, DUE),
        (REPAIR_OF_THE_END, "give_up", CLOSED, None),
    ],
)
def test_a_settle_with_the_fence_ends_by_the_row_as_it_then_is(claimed, trigger, after, after_later_news):
    """The second figure: a revision was raised while the call was made."""
    step = settled(claimed, SETTLES[trigger])
    assert phase(step.card) is after
    assert (step.card.lease_until, step.card.lease_by, step.card.fence) == (0, "", claimed.card.fence)
    if after_later_news is not None:
        raised = delivery.raise_revision(claimed.card, claimed.card.state, claimed.card.revision + 1, NOW)
        assert phase(settled_on(raised.card, claimed, SETTLES[trigger]).card) is after_later_news


def test_giving_up_an_end_that_waits_for_members_leaves_it_due_at_once():
    step = settled(LAST_UNKNOWN_CODE, Verdict.unknown_code)
    assert phase(step.card) is DUE
    assert step.card.end_by == attempt_at(step.card, RULES) == NOW


@pytest.mark.parametrize("verdict", SETTLES.values(), ids=SETTLES)
@pytest.mark.parametrize("claimed", [NEWS, LISTED, END, REPAIR], ids=["news", "list", "end", "repair"])
def test_a_settle_closes_the_card_whose_id_died_while_it_called(claimed, verdict):
    """Also the clock does, once the lease is over (test_rules: `due_at`)."""
    step = settled(claimed, verdict, EXPIRES)
    assert phase(step.card) is CLOSED
    if not (verdict is Verdict.ok and claimed is END):  # that one is closed by its end
        assert step.card.verdict == EXPIRED
    assert step.card.settled == step.card.revision
    assert attempt_at(step.card, RULES) is None


def test_what_was_still_owed_when_the_id_died_is_told_and_settles_expired():
    raised = delivery.raise_revision(LISTED.card, ENDED, 4, NOW).card
    claimed = Claimed(LISTED.card, LISTED.call, (Owed("ann"), Owed("bob")))
    step = settled_on(raised, claimed, Verdict.ok, EXPIRES)
    assert failures(step) == [("expired", 4, ("bob",))]
    assert step.counters == {"revisions.delivered": 1, "revisions.expired": 1, "revisions.superseded": 1}


@pytest.mark.parametrize(("claimed", "doubt_at"), [(NEWS.card, NOW + MINUTE), (due_card(), None)])
def test_a_card_that_the_table_refuses_is_put_off_and_a_lease_that_ran_out_is_a_doubt(claimed, doubt_at):
    step = delivery.postpone(claimed, NOW + MINUTE, RULES)
    assert (step.card.doubt_at, step.card.lease_until, step.card.fence) == (doubt_at, 0, claimed.fence + 1)
    assert attempt_at(step.card, RULES) == NOW + MINUTE + RULES.backoff_cap
