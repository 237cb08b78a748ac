"""No stored wait is believed further ahead than its own longest setting (design.md §5)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.wechat import Verdict
from statemachine.card import (
    CALLING,
    CLOSED,
    DUE,
    IN_SYNC,
    UNCERTAIN,
    Card,
    DeliveryRules,
    attempt_at,
    phase,
    status,
)
from statemachine.gate import LONGEST, MINUTE, NEVER, SPREAD, UNKNOWN_APP, Gate, as_believed, first_wait
from statemachine.states import ENDED
from statemachine.waits import CLOCK_STEP, believed
from tests.statemachine.cards import (
    IN,
    NOW,
    RULES,
    SECOND,
    Chat,
    card_of,
    claim,
    due_card,
    settled,
    settled_on,
    take,
)
from tests.statemachine.test_delivery_anything import Life, steps

BACK = 1_800 * SECOND


def test_a_wait_is_believed_up_to_its_longest_and_a_step_of_the_clock():
    assert believed(NOW - 1, NOW, SECOND) == NOW - 1
    furthest = NOW + SECOND + CLOCK_STEP
    assert believed(furthest, NOW, SECOND) == furthest
    assert believed(furthest + 1, NOW, SECOND) == NOW


@pytest.mark.parametrize(
    ("column", "longest"), [("throttled_until", RULES.coalesce), ("retry_at", RULES.backoff_cap)]
)
def test_a_claim_believes_each_wait_up_to_its_own_longest(column, longest):
    furthest = NOW + longest + CLOCK_STEP
    assert claim(due_card(**{column: furthest}), ("ann",)).claimed is None
    assert take(due_card(**{column: furthest + 1}), ("ann",)).call.members == ("ann",)


def test_a_lease_further_ahead_than_a_lease_lasts_is_a_lapse():
    held = IN[CALLING]()
    assert claim(held, ("ann",), NOW - CLOCK_STEP).claimed is None  # exactly one lease and a step ahead
    taken = take(held, ("ann",), NOW - CLOCK_STEP - 1)
    assert taken.card.fence == held.fence + 2  # the lapse's and the claim's
    assert taken.card.doubt_at == NOW - CLOCK_STEP - 1


@pytest.mark.parametrize("where", [DUE, UNCERTAIN, CALLING])
def test_people_are_told_no_moment_that_nobody_waits_for(where):
    card = {
        DUE: due_card(retry_at=NOW),
        UNCERTAIN: card_of(doubt_at=NOW),
        CALLING: IN[CALLING](),
    }[where]
    told = status(card, None, NOW - BACK, RULES)
    assert told.phase is where
    assert told.until in (None, NOW - BACK)


def test_the_longest_wait_of_a_card_is_the_longest_of_its_settings():
    for name in ("lease", "coalesce", "backoff_cap", "repair_after"):
        assert DeliveryRules(**{name: 100 * SECOND}).longest_wait == 100 * SECOND
    assert DeliveryRules(lease=70 * SECOND).longest_closing == 70 * SECOND
    assert RULES.longest_closing == RULES.probe


def test_a_call_claimed_before_the_clock_was_set_back_leaves_no_wait_of_then():
    claimed = take(due_card(), ("ann",))
    now = NOW - BACK
    assert settled(claimed, Verdict.ok, now).card.throttled_until == now + RULES.coalesce
    assert settled(claimed, Verdict.busy, now, jitter=1.0).card.retry_at == now + RULES.backoff


def test_a_call_claimed_before_the_clock_was_set_back_clears_no_doubt_of_since():
    """By its number it was claimed long after the doubt; in truth it was before."""
    claimed = take(due_card(), ("ann",))
    claimed.card.doubt_at = NOW - BACK
    assert settled(claimed, Verdict.ok, NOW - BACK + SECOND).card.doubt_at == NOW - BACK


@pytest.mark.parametrize("reason", sorted(LONGEST))
def test_a_gate_is_believed_up_to_the_longest_closing_for_its_reason(reason):
    gate = Gate("wx1", NOW + CLOCK_STEP + LONGEST[reason], reason=reason)
    assert as_believed(gate, NOW, 1) is gate
    assert as_believed(gate, NOW - 1, 1).closed_until == NOW - 1
    setting = Gate("wx1", NOW + CLOCK_STEP + SECOND, reason="blocked")
    assert as_believed(setting, NOW, SECOND) is setting
    assert as_believed(setting, NOW - 1, SECOND).closed_until == NOW - 1


def test_no_first_wait_is_longer_than_the_longest():
    for verdict in (Verdict.minute_limit, Verdict.daily_limit):
        for now in (NOW // MINUTE * MINUTE, NOW // MINUTE * MINUTE - 1, NOW):
            assert first_wait(verdict, now, 1.0, 0) <= LONGEST[verdict.value]
    assert LONGEST[Verdict.minute_limit.value] == MINUTE + SPREAD
    assert LONGEST[UNKNOWN_APP] == NEVER


def waits(card: Card, now: int) -> dict[str, int]:
    """How far ahead of `now` each wait of a card lies."""
    ends = {
        "coalesce": card.throttled_until,
        "backoff_cap": card.retry_at,
        "lease": card.lease_until,
        "repair_after": now if card.doubt_at is None else card.doubt_at + RULES.repair_after,
        "end_wait": card.end_by or now,
    }
    return {name: until - now for name, until in ends.items()}


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40), st.integers(1, 2 * BACK))
def test_whatever_happened_a_claim_after_the_clock_was_set_back_leaves_no_longer_wait(story, back):
    """Not only for half an hour: each wait by its own setting, also where the column's longest hides it."""
    life = Life()
    for step in story:
        life.play(*step)
    if phase(life.card) is CLOSED:
        return
    now = life.now - back
    after = claim(life.card, life.owed, now).card
    assert all(ahead <= getattr(RULES, name) + CLOCK_STEP for name, ahead in waits(after, now).items()), after
    at = attempt_at(after, RULES)
    assert at is None or at <= now + RULES.longest_wait + CLOCK_STEP


@pytest.mark.parametrize("state", ["open", ENDED])
@pytest.mark.parametrize("back", [SECOND, 40 * SECOND, BACK])
def test_a_clock_set_back_halfway_makes_no_card_wrong(state, back):
    """Claims, busy answers and unknown ones before it, zeros after it."""
    chat = Chat(due_card(state), ("ann", "bob"))
    for verdict in (Verdict.busy, Verdict.unknown, Verdict.ok, Verdict.unknown):
        chat.call(lambda *_, verdict=verdict: verdict, jitter=1.0)
    chat.now -= back
    begun = chat.now
    while (at := attempt_at(chat.card, RULES)) is not None:
        chat.now = max(chat.now, believed(at, chat.now, RULES.longest_wait))
        chat.follow(step := claim(chat.card, chat.owed, chat.now))
        if step.claimed is not None:
            chat.follow(settled_on(chat.card, step.claimed, Verdict.ok, chat.now))
        assert chat.now - begun < 4 * RULES.longest_wait
    assert phase(chat.card) in (IN_SYNC, CLOSED)
    assert sorted({*chat.told}) == ["ann", "bob"]
