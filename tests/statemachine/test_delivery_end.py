"""The end waits for members owed from before it, for so long, and is never late itself (design.md §6)."""

from __future__ import annotations

import pytest

from contracts.wechat import Verdict
from statemachine import delivery
from statemachine.card import CLOSED, DUE, EXPIRED, GIVEN_UP, Card, attempt_at, phase
from statemachine.states import ENDED, NEARING
from statemachine.step import Step
from tests.statemachine.cards import (
    EXPIRES,
    MINUTE,
    NOW,
    RULES,
    SECOND,
    Chat,
    claim,
    copy_of,
    due_card,
    failures,
    settled,
    settled_on,
    take,
)

HALF_A_MARGIN = EXPIRES - RULES.margin // 2


def ended(**columns: int) -> Card:
    """An end that was raised now on a card that shows 2."""
    return due_card(ENDED, **{"shown": 2, "may_show": 2, "retry_at": NOW} | columns)


def test_members_go_first_with_the_last_open_state_then_the_end_alone():
    chat = Chat(ended(), ["ann", "bob"])
    chat.run(lambda target, members: Verdict.ok)
    assert chat.calls == [(2, ("ann", "bob")), (3, ())]
    assert chat.now == NOW
    assert phase(chat.card) is CLOSED


def test_end_by_is_written_by_the_first_claim_after_the_end_is_known():
    assert take(ended(), ("ann",)).card.end_by == NOW + RULES.end_wait
    late = take(ended(retry_at=NOW - MINUTE), ("ann",))
    assert late.card.end_by == NOW + RULES.end_wait  # a dispatcher that was away costs nobody the wait


@pytest.mark.parametrize("idle", [0, 5 * SECOND, 7_200 * SECOND])
def test_end_by_moves_by_the_time_in_which_nobody_took_the_card_though_it_was_due(idle):
    first = settled(take(ended(), ("ann",)), Verdict.busy, jitter=0.5).card
    assert attempt_at(first, RULES) == first.retry_at
    again = take(first, ("ann",), first.retry_at + idle)
    assert again.card.end_by == NOW + RULES.end_wait + idle
    assert again.call.members == ("ann",)


def test_end_by_moves_by_the_time_after_a_lease_that_nobody_settled():
    first = take(ended(), ("ann",))
    again = take(first.card, ("ann",), NOW + RULES.lease + 4 * SECOND)
    assert again.card.end_by == NOW + RULES.end_wait + 4 * SECOND


@pytest.mark.parametrize("idle", [0, 3_600 * SECOND])
def test_end_by_is_always_half_a_margin_before_expiry_at_the_latest(idle):
    life = {"expires_at": NOW + 50 * SECOND}
    claimed = take(ended(**life), ("ann",))
    assert claimed.card.end_by == NOW + 50 * SECOND - RULES.margin // 2
    last = NOW + 70 * SECOND - RULES.margin // 2
    near = ended(end_by=last - SECOND, retry_at=NOW - idle, expires_at=NOW + 70 * SECOND)
    assert take(near, ("ann",)).card.end_by == min(last, last - SECOND + idle)


def test_from_end_by_on_the_end_goes_alone_and_the_claim_that_calls_it_names_who_is_left_out():
    card = ended(end_by=NOW, retry_at=NOW)
    step = claim(card, ("ann", "bob"))
    assert step.claimed is not None
    assert (step.claimed.call.target_state, step.claimed.call.members) == (3, ())
    assert step.skipped == ("ann", "bob")
    assert failures(step) == [("ended", 2, ("ann", "bob"))]


def test_just_before_end_by_members_still_go_first():
    assert take(ended(end_by=NOW + 1, retry_at=NOW), ("ann",)).call.members == ("ann",)


def test_an_outage_of_two_hours_with_busy_answers_costs_the_end_one_minute():
    """300 members are owed when a dispatcher comes back and WeChat answers -1 to all."""
    people = [f"m{number:03}" for number in range(300)]
    chat = Chat(ended(retry_at=NOW - 7_200 * SECOND), people)
    chat.run(lambda target, members: Verdict.ok if target == 3 else Verdict.busy, jitter=0.9)
    assert chat.calls[-1] == (3, ())
    assert chat.now == NOW + RULES.end_wait
    assert chat.skipped == people
    assert phase(chat.card) is CLOSED


def test_once_the_end_was_called_no_member_follows_it():
    """Also where its outcome is unknown: who is owed is skipped by the next claim."""
    called = settled(take(ended()), Verdict.unknown).card
    assert called.may_show == 3
    step = claim(called, ("ann",), called.retry_at)
    assert step.claimed is not None
    assert step.claimed.call.members == ()
    assert failures(step) == [("ended", 2, ("ann",))]


def test_an_end_that_becomes_known_while_a_list_is_called_and_times_out_lets_the_list_go_again_first():
    claimed = take(due_card(NEARING, attempts=7), ("ann",))
    known = delivery.raise_revision(claimed.card, ENDED, 3, NOW + SECOND).card
    card = settled_on(known, claimed, Verdict.unknown, NOW + 10 * SECOND, jitter=0.9).card
    assert (phase(card), card.attempts) == (DUE, 1)  # the end's own first
    chat = Chat(card, ["ann"])
    chat.now = NOW + 10 * SECOND
    chat.run(lambda target, members: Verdict.ok)
    assert chat.calls[:2] == [(2, ("ann",)), (3, ())]
    assert chat.calls[2:] == [(3, ())]  # the doubt's repair
    assert phase(chat.card) is CLOSED


GIVES_UP = [(Verdict.unknown_code, 5), (Verdict.unknown_activity, 10)]


@pytest.mark.parametrize(("verdict", "attempts"), GIVES_UP, ids=str)
def test_what_would_give_the_card_up_makes_the_end_go_now_with_counts_of_its_own(verdict, attempts):
    chat = Chat(ended(), ["ann"])
    chat.run(lambda target, members: verdict)
    assert [target for target, _ in chat.calls] == [2] * attempts + [3] * attempts
    assert chat.failed == [(verdict, 2, ("ann",)), ("ended", 2, ("ann",)), (verdict, 2, ())]
    assert (phase(chat.card), chat.card.verdict) == (GIVEN_UP, verdict)


def test_a_wrong_request_is_found_by_the_last_open_state_alone_and_then_the_end_goes():
    people = [f"m{number}" for number in range(8)]
    chat = Chat(ended(), people)
    chat.run(lambda target, members: Verdict.rejected if target < 3 else Verdict.ok)
    assert [len(members) for _, members in chat.calls] == [8, 4, 2, 1, 1, 1, 0, 0]
    assert [target for target, _ in chat.calls] == [2] * 7 + [3]
    assert (phase(chat.card), chat.card.singles) == (CLOSED, 0)


def test_three_bad_members_cost_the_others_nothing_while_the_end_waits():
    people = [f"m{number:02}" for number in range(20)]
    bad = set(people[:3])
    chat = Chat(ended(), people)
    chat.run(lambda target, members: Verdict.rejected if bad & set(members) else Verdict.ok)
    assert (set(chat.skipped), len(chat.told)) == (bad, 17)
    assert chat.calls[-1] == (3, ())


def test_a_member_rejected_alone_is_skipped_and_the_end_follows():
    chat = Chat(ended(), ["ann"])
    chat.run(lambda target, members: Verdict.rejected if members else Verdict.ok)
    assert chat.calls == [(2, ("ann",)), (3, ())]
    assert chat.failed == [("rejected", 2, ("ann",))]


def test_an_end_that_is_given_up_comes_again_by_redeliver():
    chat = Chat(ended())
    chat.run(lambda target, members: Verdict.rejected)
    assert phase(chat.card) is GIVEN_UP
    step = delivery.redeliver(chat.card, [], chat.now)
    assert step is not None
    chat.follow(step)
    chat.run(lambda target, members: Verdict.ok)
    assert (chat.calls, phase(chat.card)) == ([(3, ()), (3, ())], CLOSED)


@pytest.mark.parametrize("dead", [EXPIRES, EXPIRES + 1])
def test_nothing_is_called_for_a_dead_id_and_the_clock_settles_what_was_owed(dead):
    assert claim(ended(), ("ann",), dead).claimed is None
    step: Step = delivery.close(ended(), ["ann"], dead)
    assert failures(step) == [("expired", 2, ("ann",))]
    assert step.counters == {"revisions.expired": 1}
    assert (phase(step.card), step.card.verdict) == (CLOSED, EXPIRED)


def test_one_microsecond_before_its_id_dies_a_card_is_still_called():
    assert take(copy_of(ended(), retry_at=EXPIRES - 1), (), EXPIRES - 1).call.target_state == 3
