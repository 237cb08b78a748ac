"""Every phase meets every trigger: the expectation is written down, cell by cell (design.md §6)."""

from __future__ import annotations

import itertools

import pytest

from contracts.wechat import Verdict
from statemachine import delivery
from statemachine.card import (
    CALLING,
    CLOSED,
    CONTINUED,
    DELIVERY_TABLE,
    DUE,
    EXPIRED,
    GIVEN_UP,
    IN_SYNC,
    UNCERTAIN,
    Phase,
    attempt_at,
    check,
    phase,
)
from statemachine.states import ENDED, NEARING, OPEN, IllegalTransition
from tests.statemachine.cards import (
    EXPIRED_CARD,
    EXPIRES,
    IN,
    NOW,
    RULES,
    SECOND,
    claim,
    copy_of,
    due_card,
    failures,
    settled_on,
    take,
)

PHASES = tuple(Phase)
LEASE_OVER = NOW + RULES.lease

RAISE = {IN_SYNC: DUE, DUE: DUE, CALLING: CALLING, UNCERTAIN: DUE, GIVEN_UP: DUE, CLOSED: CLOSED}
DOUBT_LATE = {
    IN_SYNC: UNCERTAIN,
    DUE: DUE,
    CALLING: CALLING,
    UNCERTAIN: UNCERTAIN,
    GIVEN_UP: GIVEN_UP,
    CLOSED: UNCERTAIN,
}
REDELIVER = {IN_SYNC: DUE, DUE: DUE, CALLING: CALLING, UNCERTAIN: DUE, GIVEN_UP: DUE}
STALE = take(due_card(NEARING), ("ann",))
"""A call of somebody who has lost the fence."""


@pytest.mark.parametrize("where", PHASES)
def test_each_phase_is_read_from_the_columns(where):
    assert phase(IN[where]()) is where


@pytest.mark.parametrize("state", [NEARING, ENDED])
@pytest.mark.parametrize("where", PHASES)
def test_raise_in_every_phase(where, state):
    card = IN[where]()
    step = delivery.raise_revision(card, state, card.revision + 1, NOW)
    assert phase(step.card) is RAISE[where]
    assert (step.card.state, step.card.revision) == (state, card.revision + 1)
    assert step.card.doubt_at == card.doubt_at


@pytest.mark.parametrize(("closed", "how"), [(IN[CLOSED](), "dead"), (EXPIRED_CARD, "expired")])
def test_a_revision_raised_on_a_closed_card_is_settled_at_once(closed, how):
    step = delivery.raise_revision(closed, ENDED, closed.revision + 2, NOW)
    assert step.counters == {f"revisions.{how}": 1, "revisions.superseded": 1}
    assert (step.card.settled, attempt_at(step.card, RULES)) == (step.card.revision, None)


@pytest.mark.parametrize("where", [IN_SYNC, GIVEN_UP, CLOSED, CALLING])
def test_claim_takes_nothing_where_nothing_is_due(where):
    """The table has no such cell, and while a lease holds nobody else may touch the card."""
    step = claim(IN[where]())
    assert step.claimed is None
    assert step.card == IN[where]()


@pytest.mark.parametrize(("where", "repair"), [(DUE, False), (UNCERTAIN, True)])
def test_claim_makes_a_card_that_is_due_or_uncertain_one_that_calls(where, repair):
    card = IN[where]()
    claimed = take(card, ("ann",) if where is DUE else ())
    assert phase(claimed.card) is CALLING
    assert (claimed.repair, claimed.card.fence) == (repair, card.fence + 1)
    assert attempt_at(claimed.card, RULES) == claimed.card.lease_until == LEASE_OVER
    assert claimed.card.lease_by == "d"


@pytest.mark.parametrize(
    ("card", "after"),
    [
        (due_card(), IN_SYNC),
        (due_card(doubt_at=NOW), UNCERTAIN),
        (due_card(ENDED, shown=3, may_show=3), CLOSED),
    ],
)
def test_claim_delivers_without_a_call_where_nothing_differs(card, after):
    step = claim(card)
    assert step.claimed is None
    assert phase(step.card) is after
    assert step.counters == {"revisions.delivered": 1}
    assert step.card.fence == card.fence + 1


@pytest.mark.parametrize("where", [DUE, UNCERTAIN])
def test_claim_leaves_a_card_alone_that_is_not_due_yet_or_whose_id_is_dead(where):
    for card in (copy_of(IN[where](), retry_at=NOW + 1), copy_of(IN[where](), expires_at=NOW)):
        step = claim(card, ("ann",))
        assert step.claimed is None
        assert step.card == card


def test_a_lapse_is_a_doubt_a_new_fence_and_then_a_call_if_one_is_due():
    card = IN[CALLING]()
    claimed = take(card, ("ann",), LEASE_OVER)
    assert (claimed.card.doubt_at, claimed.repair) == (LEASE_OVER, False)
    assert claimed.card.fence > card.fence + 1  # one for the lapse, one for the claim


def test_a_lapse_of_a_repair_waits_for_the_next_as_after_any_doubt():
    step = claim(take(IN[UNCERTAIN]()).card, (), LEASE_OVER)
    assert step.claimed is None
    assert phase(step.card) is UNCERTAIN
    assert step.card.lease_by == ""
    assert attempt_at(step.card, RULES) == LEASE_OVER + RULES.repair_after


@pytest.mark.parametrize("where", PHASES)
def test_a_doubt_without_the_fence_in_every_phase(where):
    card = copy_of(IN[where](), fence=STALE.card.fence + 1)
    step = settled_on(card, STALE, Verdict.unknown)
    assert phase(step.card) is DOUBT_LATE[where]
    assert step.card.doubt_at == NOW
    assert step.card.may_show == max(card.may_show, STALE.call.target_state)
    assert step.card.fence == card.fence
    assert step.counters == {"settles.stale": 1}


@pytest.mark.parametrize("card", [EXPIRED_CARD, copy_of(IN[CLOSED](), expires_at=NOW)])
def test_a_doubt_without_the_fence_reopens_no_card_whose_id_is_dead(card):
    assert phase(settled_on(copy_of(card, fence=9), STALE, Verdict.unknown).card) is CLOSED


@pytest.mark.parametrize("where", PHASES)
def test_what_was_not_sent_leaves_no_doubt_without_the_fence(where):
    card = copy_of(IN[where](), fence=9)
    step = settled_on(card, STALE, None)
    assert step.card == card


@pytest.mark.parametrize("where", [each for each in PHASES if each is not CLOSED])
def test_redeliver_in_every_phase_but_closed(where):
    card = IN[where]()
    step = delivery.redeliver(card, ["bob"], NOW)
    assert step is not None
    assert phase(step.card) is REDELIVER[where]
    assert (step.owed_again, step.card.revision) == (("bob",), card.revision + 1)
    assert step.counters == {"revisions.raised": 1}


def test_redeliver_of_a_closed_card_is_illegal_or_says_that_nobody_can_follow():
    with pytest.raises(IllegalTransition):
        delivery.redeliver(EXPIRED_CARD, ["bob"], NOW)
    assert delivery.redeliver(IN[CLOSED](), ["bob"], NOW) is None


@pytest.mark.parametrize("where", PHASES)
def test_a_card_that_another_one_continues_is_closed_in_every_phase(where):
    """Nothing is told or called; what is undelivered is superseded, and whoever has it has lost its fence."""
    card = IN[where]()
    behind = card.revision - card.settled
    step = delivery.close(card, ("ann",), NOW, CONTINUED)
    assert (phase(step.card), step.card.verdict, step.card.doubt_at) == (CLOSED, CONTINUED, None)
    assert (step.card.settled, step.card.lease_until) == (step.card.revision, 0)
    assert (step.skipped, step.published) == (("ann",), [])
    assert step.counters == ({"revisions.superseded": behind} if behind else {})
    assert (step.card.fence > card.fence) is (where is CALLING)
    assert attempt_at(step.card, RULES) is None
    stale = copy_of(step.card, fence=STALE.card.fence + 1)
    assert phase(settled_on(stale, STALE, Verdict.unknown).card) is CLOSED


@pytest.mark.parametrize("where", PHASES)
def test_close_in_every_phase(where):
    card = IN[where]()
    step = delivery.close(card, ("ann",) if card.behind else (), EXPIRES)
    assert (phase(step.card), step.card.verdict) == (CLOSED, EXPIRED)
    assert (step.card.lease_until, step.card.doubt_at) == (0, None)
    assert step.card.settled == card.revision
    assert step.card.fence == card.fence + (where is CALLING)  # whoever had it settles nothing any more
    assert failures(step) == ([("expired", 2, ("ann",))] if card.behind else [])


TRIGGERS = sorted({row["trigger"] for row in DELIVERY_TABLE})


@pytest.mark.parametrize("trigger", [*TRIGGERS, "to_due", "no such trigger"])
def test_what_the_table_does_not_have_is_illegal(trigger):
    allowed = {(row["source"], row["dest"]) for row in DELIVERY_TABLE if row["trigger"] == trigger}
    for before, after in itertools.product(PHASES, PHASES):
        if (before, after) in allowed:
            check(trigger, before, after)
        else:
            with pytest.raises(IllegalTransition):
                check(trigger, before, after)


def test_the_table_has_the_cells_of_the_design():
    """Trigger by trigger: from where, to where."""
    cells: dict[str, set[str]] = {}
    for row in DELIVERY_TABLE:
        cells.setdefault(row["trigger"], set()).add(f"{row['source']}→{row['dest']}")
    resting = {"calling→due", "calling→uncertain"}
    assert cells == {
        "raise": {f"{before}→{after}" for before, after in RAISE.items()},
        "claim": {
            "due→calling", "uncertain→calling", "due→in_sync", "due→uncertain", "due→closed",
        },
        "lapse": resting,
        "release": resting,
        "confirm": resting | {"calling→in_sync", "calling→closed"},
        "retry": resting,
        "doubt": resting,
        "doubt_late": {f"{before}→{after}" for before, after in DOUBT_LATE.items()},
        "give_up": resting | {f"calling→{each}" for each in (GIVEN_UP, IN_SYNC, CLOSED)},
        "redeliver": {f"{before}→{after}" for before, after in REDELIVER.items()},
        "close": {f"{each}→closed" for each in PHASES},
    }  # fmt: skip


def test_a_raise_of_the_end_starts_its_attempts_anew_and_is_due_now():
    card = due_card(NEARING, attempts=5, code_attempts=2, retry_at=NOW + 40 * SECOND, throttled_until=NOW + 9)
    step = delivery.raise_revision(card, ENDED, 3, NOW)
    assert (step.card.attempts, step.card.code_attempts) == (0, 0)
    assert attempt_at(step.card, RULES) == NOW


def test_a_raise_of_a_card_that_was_given_up_clears_its_counts():
    card = copy_of(IN[GIVEN_UP](), attempts=3, code_attempts=2, singles=3, retry_at=NOW + SECOND)
    after = delivery.raise_revision(card, OPEN, 3, NOW).card
    assert (after.attempts, after.code_attempts, after.singles, after.verdict) == (0, 0, 0, "")
    assert attempt_at(after, RULES) == NOW
