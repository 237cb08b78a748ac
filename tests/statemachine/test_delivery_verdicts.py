"""Every verdict of WeChat's table, settled: what it costs, what it tells, what comes next (design.md §6)."""

from __future__ import annotations

import msgspec
import pytest

from contracts.wechat import ILLEGAL_STATE, Verdict
from statemachine import delivery
from statemachine.card import CLOSED, DUE, EXPIRED, GIVEN_UP, IN_SYNC, UNCERTAIN, attempt_at, phase
from statemachine.states import ENDED, NEARING, OPEN
from statemachine.step import Result
from tests.statemachine.cards import (
    EXPIRES,
    NOW,
    RULES,
    SECOND,
    Chat,
    card_of,
    copy_of,
    deliveries,
    due_card,
    failures,
    settled,
    settled_on,
    take,
)

AFTER = {
    None: DUE,
    Verdict.ok: IN_SYNC,
    Verdict.busy: DUE,
    Verdict.unknown: DUE,
    Verdict.token: DUE,
    Verdict.minute_limit: DUE,
    Verdict.daily_limit: DUE,
    Verdict.misconfigured: DUE,
    Verdict.blocked: DUE,
    Verdict.address: DUE,
    Verdict.no_token: DUE,
    Verdict.expired: CLOSED,
    Verdict.unknown_activity: DUE,
    Verdict.rejected: DUE,
    Verdict.unknown_code: DUE,
}
FREE = (
    None,
    Verdict.token,
    Verdict.minute_limit,
    Verdict.daily_limit,
    Verdict.misconfigured,
    Verdict.blocked,
    Verdict.address,
    Verdict.no_token,
)
NEWS = take(due_card(NEARING, attempts=2, code_attempts=3), ("ann",))


def test_the_table_of_verdicts_is_whole():
    assert set(AFTER) == {None, *Verdict}


@pytest.mark.parametrize(("verdict", "after"), AFTER.items())
def test_each_verdict_leads_to_its_phase(verdict, after):
    assert phase(settled(NEWS, verdict).card) is after


@pytest.mark.parametrize("verdict", FREE)
def test_what_is_about_the_app_or_unsent_costs_nothing(verdict):
    """Due again at once: the app's gate holds it, or the process backs off by itself."""
    step = settled(NEWS, verdict, NOW + 5)
    assert step.card == copy_of(NEWS.card, lease_until=0, lease_by="", retry_at=NOW + 5)
    assert (step.published, step.counters, step.in_doubt) == ([], {}, ())


def test_ok_confirms_the_members_tells_the_revision_and_counts_from_new():
    step = settled(NEWS, Verdict.ok, NOW + 5)
    assert step.confirmed == ("ann",)
    (told,) = deliveries(step)
    assert (told.revision, told.target_state, told.members, told.calls) == (2, 2, ("ann",), 1)
    assert step.counters == {"revisions.delivered": 1}
    card = step.card
    assert (card.shown, card.may_show, card.attempts, card.code_attempts) == (2, 2, 0, 0)
    assert (card.succeeded, card.settled, card.behind_since) == (True, 2, None)


def test_a_revision_that_was_jumped_over_is_counted():
    claimed = take(due_card(NEARING, revision=5))
    assert settled(claimed, Verdict.ok).counters == {"revisions.delivered": 1, "revisions.superseded": 3}


def test_the_lists_of_one_plan_are_told_together_when_the_last_is_confirmed():
    chat = Chat(due_card(), [f"m{number:03}" for number in range(201)])
    first = take(chat.card, chat.owed)
    assert first.more
    step = settled(first, Verdict.ok)
    assert deliveries(step) == []
    assert attempt_at(step.card, RULES) == NOW  # further lists of the same plan are free
    chat.run(lambda target, members: Verdict.ok)
    assert [len(members) for _, members in chat.calls] == [100, 100, 1]


def test_busy_is_not_applied_so_nothing_is_in_doubt():
    step = settled(NEWS, Verdict.busy, jitter=0.5)
    assert (step.in_doubt, step.card.doubt_at, step.card.code_attempts) == ((), None, 0)
    assert (step.card.attempts, step.card.retry_at) == (3, NOW + 2 * SECOND)


def test_an_unknown_outcome_is_a_doubt_and_marks_its_members():
    step = settled(NEWS, Verdict.unknown, NOW + 5, jitter=0.5)
    assert (step.in_doubt, step.card.doubt_at, step.card.may_show) == (("ann",), NOW + 5, 2)
    assert step.counters == {"calls.unknown": 1}
    assert step.card.retry_at == NOW + 5 + 2 * SECOND


@pytest.mark.parametrize("verdict", Verdict)
def test_without_the_fence_only_a_doubt_is_written_and_whom_wechat_confirmed(verdict):
    card = due_card(NEARING, fence=7)
    step = settled_on(card, NEWS, verdict, sent=True)
    assert step.card == copy_of(card, doubt_at=NOW, may_show=2)
    assert step.confirmed == (("ann",) if verdict is Verdict.ok else ())
    assert (step.published, step.counters) == ([], {"settles.stale": 1})


def test_the_same_result_settled_twice_counts_once():
    after = settled(NEWS, Verdict.ok).card
    result = Result(NEWS, Verdict.ok, sent=True)
    assert delivery.settle(after, result, NOW, RULES) is None


def test_an_expired_id_closes_the_card_and_names_who_is_owed():
    step = settled(NEWS, Verdict.expired, errcode=47504, errmsg="x rid: r-1", rid="r-1")
    assert failures(step) == [("expired", 2, ("ann",))]
    assert (phase(step.card), step.card.verdict) == (CLOSED, EXPIRED)
    assert step.counters == {"revisions.expired": 1}


@pytest.mark.parametrize(
    ("verdict", "attempts"), [(Verdict.unknown_code, 5), (Verdict.unknown_activity, 10)], ids=str
)
def test_a_code_that_says_nothing_sure_is_given_up_after_so_many_in_a_row(verdict, attempts):
    chat = Chat(due_card(NEARING), ["ann"])
    chat.run(lambda target, members: verdict, jitter=0.9)
    assert len(chat.calls) == attempts
    assert (phase(chat.card), chat.card.verdict) == (GIVEN_UP, verdict)
    assert chat.failed == [(verdict, 2, ())]
    assert chat.owed == ["ann"]


@pytest.mark.parametrize("between", [Verdict.busy, Verdict.unknown, Verdict.ok])
def test_another_answer_between_begins_the_row_anew(between):
    step = settled(take(due_card(NEARING, code_attempts=4)), between)
    assert step.card.code_attempts == 0


def test_what_is_about_the_app_does_not_break_the_row():
    step = settled(take(due_card(NEARING, code_attempts=4)), Verdict.minute_limit)
    assert step.card.code_attempts == 4


def test_a_state_that_is_rejected_with_nobody_is_given_up_at_once():
    step = settled(take(due_card(NEARING)), Verdict.rejected, errcode=47001)
    assert (phase(step.card), step.card.verdict) == (GIVEN_UP, "rejected")
    assert failures(step) == [("rejected", 2, ())]
    assert step.counters == {"revisions.dead": 1}


def test_what_is_refused_is_planned_no_more_often_than_what_is_delivered():
    """A revision a moment, all of them refused: one plan per `coalesce`."""
    chat = Chat(due_card(NEARING))
    chat.run(lambda target, members: Verdict.rejected)
    chat.card = delivery.raise_revision(chat.card, NEARING, 3, chat.now).card
    assert phase(chat.card) is DUE
    assert attempt_at(chat.card, RULES) == NOW + RULES.coalesce
    ended = delivery.raise_revision(chat.card, ENDED, 4, chat.now).card
    assert attempt_at(ended, RULES) == chat.now  # the end waits for no throttle


REFUSALS = (Verdict.rejected, Verdict.unknown_code, Verdict.unknown_activity)


@pytest.mark.parametrize("verdict", REFUSALS, ids=str)
def test_a_refused_repair_drops_its_doubt_and_tells_but_not_what_may_be_shown(verdict):
    card = card_of(shown=1, may_show=2, doubt_at=NOW - RULES.repair_after, code_attempts=9)
    step = settled(take(card), verdict)
    assert phase(step.card) is IN_SYNC
    assert failures(step) == [(verdict, 1, ())]
    assert step.counters == {}
    assert (step.card.doubt_at, step.card.shown, step.card.may_show) == (None, 1, 2)


@pytest.mark.parametrize("verdict", REFUSALS, ids=str)
def test_a_refused_repair_keeps_the_doubt_of_a_call_since_it_was_claimed(verdict):
    """A call of before, settled without its fence while the repair was made, may still be applied."""
    claimed = take(card_of(doubt_at=NOW - RULES.repair_after, code_attempts=9))
    lost = msgspec.structs.replace(claimed, card=copy_of(claimed.card, fence=0))
    late = settled_on(claimed.card, lost, Verdict.unknown, NOW + SECOND)
    step = settled_on(late.card, claimed, verdict, NOW + 2 * SECOND)
    assert (phase(step.card), step.card.doubt_at) == (UNCERTAIN, NOW + SECOND)


def test_lowering_that_is_refused_is_remembered_told_once_and_never_bisected():
    """47502 to 2→1: an open activity is shown as 2, members travel with 2, and 3 follows."""
    chat = Chat(due_card(OPEN, shown=2, may_show=2), ["ann", "bob"])
    refuses = {1: Verdict.rejected}
    chat.run(lambda target, members: refuses.get(target, Verdict.ok), errcode=ILLEGAL_STATE)
    assert chat.calls == [(1, ("ann", "bob")), (2, ("ann", "bob"))]
    assert chat.failed == [("not_lowered", 2, ())]
    assert (chat.card.cannot_lower, chat.card.list_limit, phase(chat.card)) == (True, 0, IN_SYNC)
    chat.card = delivery.raise_revision(chat.card, ENDED, 3, chat.now).card
    chat.run(lambda target, members: Verdict.ok)
    assert chat.calls[-1] == (3, ())


def test_lowering_with_nobody_that_is_refused_settles_without_another_call():
    chat = Chat(due_card(OPEN, shown=2, may_show=2))
    chat.run(lambda target, members: Verdict.rejected, errcode=ILLEGAL_STATE)
    assert chat.calls == [(1, ())]
    assert (phase(chat.card), chat.card.shown) == (IN_SYNC, 2)


def test_a_repair_that_lowers_follows_the_same_rule_and_its_doubt_stays():
    card = card_of(OPEN, shown=1, may_show=2, doubt_at=NOW - RULES.repair_after)
    step = settled(take(card), Verdict.rejected, errcode=ILLEGAL_STATE)
    assert phase(step.card) is UNCERTAIN
    assert failures(step) == [("not_lowered", 1, ())]
    assert (step.card.doubt_at, step.card.cannot_lower) == (card.doubt_at, True)
    assert take(step.card).call.target_state == 2


@pytest.mark.parametrize("claimed", [take(due_card(NEARING), ("ann", "bob")), take(due_card(ENDED))])
def test_the_same_code_to_a_call_that_raises_is_an_ordinary_rejection(claimed):
    step = settled(claimed, Verdict.rejected, errcode=ILLEGAL_STATE)
    assert not step.card.cannot_lower
    assert step.card.list_limit == 1 or phase(step.card) is GIVEN_UP


def test_the_clock_of_a_settle_is_the_one_it_is_given():
    step = settled(NEWS, Verdict.ok, EXPIRES - 1)
    assert phase(step.card) is IN_SYNC
    assert step.card.throttled_until == NEWS.at + RULES.coalesce
