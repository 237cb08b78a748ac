"""The rules of design.md §6, sentence by sentence: waits, doubts, what WeChat may show, rejected lists."""

from __future__ import annotations

import pytest

from contracts.wechat import Verdict
from statemachine import delivery
from statemachine.card import (
    CALLING,
    CLOSED,
    DUE,
    GIVEN_UP,
    IN_SYNC,
    UNCERTAIN,
    DeliveryRules,
    Status,
    attempt_at,
    phase,
    status,
)
from statemachine.gate import Gate
from statemachine.states import ENDED, NEARING, OPEN
from statemachine.step import Claimed, Owed
from tests.statemachine.cards import (
    IN,
    MINUTE,
    NOW,
    RULES,
    SECOND,
    Chat,
    card_of,
    copy_of,
    due_card,
    settled,
    settled_on,
    take,
)

PEOPLE = [f"m{number:03}" for number in range(100)]


# Throttle.


def test_the_first_plan_goes_at_once_and_the_next_a_second_after_the_claim_of_the_last():
    card = delivery.raise_revision(card_of(), NEARING, 2, NOW).card
    assert attempt_at(card, RULES) == NOW
    after = settled(take(card), Verdict.ok, NOW + 5).card
    again = delivery.raise_revision(after, OPEN, 3, NOW + 10).card
    assert attempt_at(again, RULES) == NOW + RULES.coalesce


def test_the_end_is_not_throttled():
    card = delivery.raise_revision(card_of(throttled_until=NOW + SECOND), ENDED, 2, NOW).card
    assert attempt_at(card, RULES) == NOW


def test_bisection_is_not_throttled():
    claimed = take(due_card(throttled_until=NOW), PEOPLE)
    assert attempt_at(settled(claimed, Verdict.rejected).card, RULES) == NOW


# Backoff.


@pytest.mark.parametrize(
    ("attempts", "longest"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (500, 60)]
)
def test_backoff_doubles_from_a_second_to_a_minute_with_full_jitter_also_at_the_cap(attempts, longest):
    claimed = take(due_card(NEARING, attempts=attempts))
    for jitter in (0.0, 0.5, 0.999):
        card = settled(claimed, Verdict.busy, jitter=jitter).card
        assert card.retry_at == NOW + int(longest * SECOND * jitter)


@pytest.mark.parametrize(("life", "longest"), [(80, 20), (8, 2), (4, 1), (2, 1), (1, 1)])
def test_no_wait_exceeds_a_quarter_of_the_ids_life_or_a_second(life, longest):
    claimed = take(due_card(NEARING, attempts=9, expires_at=NOW + life * SECOND))
    card = settled(claimed, Verdict.busy, jitter=0.5).card
    assert card.retry_at == NOW + longest * SECOND // 2


def test_no_wait_of_an_end_passes_end_by():
    claimed = take(due_card(ENDED, attempts=9, retry_at=NOW, end_by=NOW + 3 * SECOND), ("ann",))
    assert settled(claimed, Verdict.busy, jitter=0.9).card.retry_at == NOW + 3 * SECOND


def test_news_never_shortens_a_wait_and_the_end_does_once():
    card = due_card(NEARING, attempts=5, retry_at=NOW + 30 * SECOND)
    card = delivery.raise_revision(card, OPEN, 3, NOW).card
    assert (card.attempts, attempt_at(card, RULES)) == (5, NOW + 30 * SECOND)
    card = delivery.raise_revision(card, ENDED, 4, NOW).card
    assert (card.attempts, attempt_at(card, RULES)) == (0, NOW)
    card = copy_of(card, attempts=4, retry_at=NOW + 20 * SECOND)
    again = delivery.raise_revision(card, ENDED, 5, NOW).card
    assert (again.attempts, attempt_at(again, RULES)) == (4, NOW + 20 * SECOND)


def test_news_in_doubt_waits_for_the_backoff_but_not_for_the_doubt():
    card = card_of(doubt_at=NOW, retry_at=NOW + 2 * SECOND)
    assert attempt_at(card, RULES) == NOW + RULES.repair_after
    raised = delivery.raise_revision(card, NEARING, 2, NOW + 5).card
    assert attempt_at(raised, RULES) == NOW + 2 * SECOND


# What WeChat may show, and doubts.


def test_a_call_may_be_shown_from_its_claim_on():
    claimed = take(due_card(NEARING))
    assert (claimed.card.shown, claimed.card.may_show) == (1, 2)
    assert settled(claimed, Verdict.unknown).card.may_show == 2


def test_a_certain_confirmation_says_what_is_shown_and_any_other_only_raises_it():
    lowering = due_card(OPEN, shown=2, may_show=2)
    certain = settled(take(lowering), Verdict.ok).card
    assert (certain.shown, certain.may_show) == (1, 1)
    doubted = settled(take(copy_of(lowering, doubt_at=NOW)), Verdict.ok).card
    assert (doubted.shown, doubted.may_show, phase(doubted)) == (1, 2, UNCERTAIN)


@pytest.mark.parametrize(("after", "cleared"), [(-1, False), (0, True)])
def test_a_doubt_is_cleared_only_by_a_call_claimed_half_a_minute_after_it(after, cleared):
    """Whether it is news or a repair, and however late it is settled."""
    since = NOW - RULES.repair_after - after
    card = settled(take(due_card(NEARING, doubt_at=since)), Verdict.ok, NOW + MINUTE).card
    assert (card.doubt_at is None) is cleared


def test_a_doubt_that_came_while_calling_outlives_the_confirmation():
    claimed = take(due_card(NEARING, doubt_at=NOW - MINUTE))
    other = Claimed(copy_of(claimed.card, fence=claimed.card.fence - 1), claimed.call)
    card = settled_on(claimed.card, other, Verdict.unknown).card
    assert (phase(card), card.doubt_at) == (CALLING, NOW)
    assert phase(settled_on(card, claimed, Verdict.ok, NOW + 1).card) is UNCERTAIN


def test_a_repair_repeats_the_state_with_nobody_half_a_minute_after_the_doubt():
    chat = Chat(due_card(NEARING), ["ann"])
    answers = iter([Verdict.unknown, Verdict.ok, Verdict.ok])
    chat.run(lambda target, members: next(answers))
    assert chat.calls == [(2, ("ann",)), (2, ("ann",)), (2, ())]
    assert chat.now >= NOW + RULES.repair_after
    assert (phase(chat.card), chat.card.doubt_at) == (IN_SYNC, None)


def test_a_doubtful_end_is_repeated_too_and_then_closed():
    chat = Chat(due_card(ENDED))
    answers = iter([Verdict.unknown, Verdict.ok, Verdict.ok])
    chat.run(lambda target, members: next(answers))
    assert chat.calls == [(3, ())] * 3
    assert phase(chat.card) is CLOSED


def test_two_to_one_while_the_call_for_two_is_in_doubt_is_called_though_one_was_confirmed_before():
    doubted = settled(take(due_card(NEARING)), Verdict.unknown).card
    card = delivery.raise_revision(doubted, OPEN, 3, NOW).card
    assert take(card, (), card.retry_at).call.target_state == 1


# Rejected lists.


@pytest.mark.parametrize("succeeded", [True, False])
@pytest.mark.parametrize("place", [0, 1, 2, 49, 50, 98, 99])
def test_one_bad_member_of_a_hundred_is_found_in_few_calls(place, succeeded):
    chat = Chat(due_card(succeeded=succeeded), PEOPLE)
    bad = PEOPLE[place]
    chat.run(lambda target, members: Verdict.rejected if bad in members else Verdict.ok)
    assert len(chat.calls) <= 15
    assert chat.skipped == [bad]
    assert sorted(chat.told) == [each for each in PEOPLE if each != bad]
    assert chat.failed == [("rejected", 2, (bad,))]
    assert (phase(chat.card), chat.card.list_limit, chat.card.singles) == (IN_SYNC, 0, 0)


def test_a_list_that_was_too_long_costs_nobody_a_try():
    chat = Chat(due_card(), PEOPLE)
    chat.run(lambda target, members: Verdict.rejected if len(members) > 20 else Verdict.ok)
    assert sorted(chat.told) == PEOPLE
    assert len(chat.calls) <= 12


def wrong_request(target: int, members: tuple[str, ...]) -> Verdict:
    return Verdict.rejected


def test_three_singles_and_the_state_alone_say_that_the_request_is_wrong_and_nobody_is_to_blame():
    chat = Chat(due_card(), PEOPLE)
    chat.run(wrong_request)
    assert [len(members) for _, members in chat.calls] == [100, 50, 25, 12, 6, 3, 1, 1, 1, 0]
    assert (phase(chat.card), chat.card.verdict) == (GIVEN_UP, "rejected")
    assert sorted(chat.owed) == PEOPLE
    assert chat.skipped == []


def test_three_members_in_all_are_not_skipped_for_a_wrong_request_either():
    chat = Chat(due_card(), PEOPLE[:3])
    chat.run(wrong_request)
    assert [len(members) for _, members in chat.calls] == [3, 1, 1, 1, 0]
    assert (sorted(chat.owed), chat.skipped) == (PEOPLE[:3], [])


def test_a_state_that_is_accepted_alone_says_that_the_members_were_wrong():
    chat = Chat(due_card(), PEOPLE)
    bad = set(PEOPLE[:3])
    chat.run(lambda target, members: Verdict.rejected if bad & set(members) else Verdict.ok)
    assert set(chat.skipped) == bad
    assert len(chat.told) == 97
    assert phase(chat.card) is IN_SYNC


def test_the_request_is_never_wrong_once_a_call_succeeded():
    chat = Chat(due_card(succeeded=True), PEOPLE[:8])
    chat.run(wrong_request)
    assert all(members for _, members in chat.calls)
    assert chat.skipped == PEOPLE[:8]
    assert phase(chat.card) is IN_SYNC


# redeliver.


def test_redeliver_without_anybody_skipped_does_nothing_unless_the_card_was_given_up():
    for where in (IN_SYNC, DUE, CALLING, UNCERTAIN):
        assert delivery.redeliver(IN[where](), (), NOW) is None
    step = delivery.redeliver(IN[GIVEN_UP](), (), NOW)
    assert step is not None
    assert (phase(step.card), step.card.verdict, attempt_at(step.card, RULES)) == (DUE, "", NOW)


def test_once_the_end_was_called_redeliver_revives_only_a_given_up_end():
    called = due_card(ENDED, may_show=3, shown=2)
    assert delivery.redeliver(called, ["bob"], NOW) is None
    given_up = card_of(ENDED, may_show=3, verdict="rejected")
    step = delivery.redeliver(given_up, ["bob"], NOW)
    assert step is not None
    assert (step.owed_again, phase(step.card)) == ((), DUE)
    assert take(step.card).call.target_state == 3


# attempt_at and status.


def test_attempt_at_is_null_exactly_where_no_dispatcher_is_wanted():
    wanted = {where for where, make in IN.items() if attempt_at(make(), RULES) is not None}
    assert wanted == {DUE, CALLING, UNCERTAIN}


@pytest.mark.parametrize(
    ("card", "gate", "why", "until"),
    [
        (card_of(), None, "", None),
        (due_card(), None, "", None),
        (due_card(throttled_until=NOW + 5), None, "throttled", NOW + 5),
        (due_card(retry_at=NOW + 5), None, "backing_off", NOW + 5),
        (due_card(ENDED, throttled_until=NOW + 5), None, "", None),
        (due_card(), Gate("wx1", NOW + 9, reason="token"), "gate:token", NOW + 9),
        (due_card(), Gate("wx1", NOW, reason="token"), "", None),
        (due_card(), Gate("wx1", saving_until=NOW + 9), "quota_reserve", NOW + 9),
        (due_card(), Gate("wx1", saving_until=NOW), "", None),
        (due_card(ENDED), Gate("wx1", saving_until=NOW + 9), "", None),
        (due_card(), Gate("wx1", NOW + 5, reason="token", saving_until=NOW + 9), "gate:token", NOW + 5),
        (due_card(expires_at=NOW), None, "expired", NOW),
        (take(due_card(NEARING)).card, None, "d", NOW + RULES.lease),
        (card_of(doubt_at=NOW), None, "in_doubt", NOW + RULES.repair_after),
        (card_of(doubt_at=NOW - MINUTE, retry_at=NOW + 5), None, "backing_off", NOW + 5),
        (IN[GIVEN_UP](), None, "unknown_code", None),
        (IN[CLOSED](), None, "ended", None),
        (card_of(verdict="expired"), None, "expired", None),
    ],
)
def test_status_says_the_phase_why_and_until_when(card, gate, why, until):
    assert status(card, gate, NOW, RULES) == Status(phase(card), why, until)


def test_a_claim_counts_whom_its_call_may_repeat():
    owed = [Owed("ann", doubtful=True), Owed("bob")]
    step = delivery.claim(due_card(), owed, NOW, holder="d", rules=DeliveryRules())
    assert step.claimed is not None
    assert step.claimed.repeats == 1
    assert step.claimed.call.members == ("ann", "bob")
