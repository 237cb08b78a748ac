"""The plan of calls (design.md §3): what may be sent, in which order, and when nothing may."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.plan import (
    GONE,
    Call,
    Delivered,
    Desired,
    Limits,
    Plan,
    end_waits_until,
    failing_from,
    plan,
    repair,
    shown_state,
)
from statemachine.states import ENDED, NEARING, OPEN, TARGET_STATE

SECOND = 1_000_000
STATES = (OPEN, NEARING, ENDED)

members = st.lists(st.from_regex(r"gp-[a-z0-9]{1,3}", fullmatch=True), unique=True, max_size=12).map(tuple)
limits = st.integers(1, 6).map(Limits)
targets = st.sampled_from([1, 2, 3])


@st.composite
def deliveries(draw: st.DrawFn) -> Delivered:
    """What WeChat confirmed. That a card cannot be lowered is learnt at 2 or later."""
    shown = draw(targets)
    return Delivered(shown, draw(st.booleans()) if shown > 1 else False)


@st.composite
def wishes(draw: st.DrawFn) -> Desired:
    return Desired(
        draw(st.sampled_from(STATES)), draw(members), hold=draw(st.booleans()), expired=draw(st.booleans())
    )


def settle(desired: Desired, delivered: Delivered, call: Call) -> tuple[Desired, Delivered]:
    """WeChat said 0 to this call."""
    left = tuple(each for each in desired.owed if each not in call.members)
    return msgspec.structs.replace(desired, owed=left), Delivered(call.target_state, delivered.cannot_lower)


@given(wishes(), deliveries(), limits)
def test_the_card_is_never_lowered_but_by_reopening(desired, delivered, limit):
    """Down only from 2 to 1, only while the activity is open, never after 47502; nothing after 3."""
    shown = delivered.target_state
    for call in plan(desired, delivered, limit).calls:
        assert shown != 3
        if call.target_state < shown:
            assert (shown, call.target_state, desired.state) == (2, 1, OPEN)
            assert not delivered.cannot_lower
        shown = call.target_state


@given(wishes(), deliveries(), limits)
def test_everybody_owed_is_in_exactly_one_call_or_left_out(desired, delivered, limit):
    planned = plan(desired, delivered, limit)
    named = [each for call in planned.calls for each in call.members]
    assert sorted([*named, *planned.left_out]) == sorted(desired.owed)


@given(wishes(), deliveries(), limits)
def test_no_list_is_longer_than_the_limit_and_no_call_is_idle(desired, delivered, limit):
    planned = plan(desired, delivered, limit)
    shown = delivered.target_state
    for call in planned.calls:
        assert len(call.members) <= limit.members_per_call
        assert call.members or call.target_state != shown
        shown = call.target_state
    lists = [len(call.members) for call in planned.calls if call.members]
    assert all(size == limit.members_per_call for size in lists[:-1])


@given(wishes(), deliveries(), limits)
def test_nothing_is_sent_after_expiry(desired, delivered, limit):
    dead = msgspec.structs.replace(desired, expired=True)
    assert plan(dead, delivered, limit) == Plan(left_out=desired.owed)
    assert repair(dead, delivered) == Plan()


@given(wishes(), deliveries(), limits)
def test_after_the_end_goes_nothing(desired, delivered, limit):
    ended = Delivered(3, delivered.cannot_lower)
    assert plan(desired, ended, limit) == Plan(left_out=desired.owed)


@given(members, deliveries(), limits)
def test_the_end_goes_alone_and_last_after_the_members_with_the_state_of_the_card(owed, delivered, limit):
    if delivered.target_state == 3:
        return
    *before, last = plan(Desired(ENDED, owed), delivered, limit).calls
    assert last == Call(3)
    assert {call.target_state for call in before} <= {delivered.target_state}
    assert tuple(each for call in before for each in call.members) == owed


@given(members, deliveries(), limits)
def test_an_end_that_waited_long_enough_goes_without_those_owed(owed, delivered, limit):
    if delivered.target_state == 3:
        return
    planned = plan(Desired(ENDED, owed, hold=False), delivered, limit)
    assert planned == Plan((Call(3),), left_out=owed)


@given(wishes(), deliveries(), limits)
def test_executing_call_by_call_converges_without_repeating_anybody(desired, delivered, limit):
    """One call per claim, then settle and plan anew: the same calls as the first plan, then none."""
    first = plan(desired, delivered, limit)
    sent: list[Call] = []
    while (planned := plan(desired, delivered, limit)).calls:
        call = planned.calls[0]
        sent.append(call)
        desired, delivered = settle(desired, delivered, call)
        assert len(sent) <= len(first.calls)
    assert tuple(sent) == first.calls
    named = [each for call in sent for each in call.members]
    assert len(named) == len(set(named))
    if not desired.expired:
        assert delivered.target_state == shown_state(desired, delivered)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OPEN, NEARING]),
            st.lists(st.integers(0, 9), max_size=3),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
    limits,
)
def test_news_between_calls_never_repeats_a_delivered_member(story, limit):
    """States come and go and members become done while calls are made: in the end all is told, once."""
    delivered, done, told, cannot_lower = Delivered(), dict[str, None](), list[str](), False
    steps = [*story, (ENDED, [], False, True)]
    for state, finished, refuses_to_lower, executed in [*steps, *[(ENDED, [], False, True)] * 15]:
        done.update(dict.fromkeys(f"gp-{number}" for number in finished))
        owed = tuple(each for each in done if each not in told)
        calls = plan(Desired(state, owed), delivered, limit).calls
        if not calls or not executed:
            continue
        call = calls[0]
        if call.target_state < delivered.target_state and refuses_to_lower:
            cannot_lower = True
            delivered = Delivered(delivered.target_state, cannot_lower)
            continue
        assert not set(call.members) & set(told)
        assert not (cannot_lower and call.target_state < delivered.target_state)
        told.extend(call.members)
        delivered = Delivered(call.target_state, cannot_lower)
    assert delivered.target_state == 3
    assert sorted(told) == sorted(done)


@pytest.mark.parametrize("shown", [1, 2])
@pytest.mark.parametrize("state", [OPEN, NEARING])
def test_no_difference_no_call(state, shown):
    expected = () if TARGET_STATE[state] == shown else (Call(TARGET_STATE[state]),)
    assert plan(Desired(state), Delivered(shown), Limits()).calls == expected


def test_members_travel_with_the_current_state_in_one_call():
    owed = ("gp-a", "gp-b")
    assert plan(Desired(NEARING, owed), Delivered(1), Limits()).calls == (Call(2, owed),)
    assert plan(Desired(OPEN, owed), Delivered(2), Limits()).calls == (Call(1, owed),)
    # A call to 2 whose outcome is unknown may have been applied: the last open state is not below it.
    doubted = plan(Desired(ENDED, owed), Delivered(1, reached=2), Limits()).calls
    assert doubted == (Call(2, owed), Call(3))
    assert plan(Desired(OPEN, owed), Delivered(1), Limits(1)).calls == (
        Call(1, ("gp-a",)),
        Call(1, ("gp-b",)),
    )


def test_a_card_that_cannot_be_lowered_stays_at_two_and_still_ends():
    """47502 to a 2→1: an open activity is planned as 2, members travel with 2, 3 follows (design.md §6)."""
    stuck = Delivered(2, cannot_lower=True)
    assert plan(Desired(OPEN), stuck, Limits()) == Plan()
    assert plan(Desired(OPEN, ("gp-a",)), stuck, Limits()).calls == (Call(2, ("gp-a",)),)
    assert plan(Desired(ENDED, ("gp-a",)), stuck, Limits()).calls == (Call(2, ("gp-a",)), Call(3))
    assert repair(Desired(OPEN), stuck).calls == (Call(2),)


@given(wishes(), deliveries())
def test_a_repair_says_the_state_once_with_nobody_and_lowers_nothing(desired, delivered):
    calls = repair(desired, delivered).calls
    assert len(calls) == (0 if desired.expired else 1)
    for call in calls:
        assert call == Call(shown_state(desired, delivered))
        assert delivered.target_state != 3 or call.target_state == 3
        assert not (delivered.cannot_lower and call.target_state < 2)


@pytest.mark.parametrize(("state", "shown"), [(OPEN, 1), (NEARING, 2), (ENDED, 3)])
def test_a_repair_repeats_what_is_true_even_the_end(state, shown):
    assert repair(Desired(state), Delivered(shown)).calls == (Call(shown),)


MINUTE = 60 * SECOND
EXPIRES = 2_000 * MINUTE
FAILED = 1_000 * MINUTE
HALF = EXPIRES - MINUTE // 2


@pytest.mark.parametrize(
    ("since", "failing", "until"),
    [
        (None, False, HALF),  # WeChat takes them: only its own time is the end's alone
        (None, True, HALF),  # what failed before the end was known says nothing
        (FAILED, True, FAILED + MINUTE),
        (FAILED, False, FAILED + MINUTE),  # members rejected one by one
        (GONE, False, GONE),  # for ever over
        (EXPIRES - 2 * MINUTE, True, EXPIRES - MINUTE),
        (EXPIRES - MINUTE - 1, True, EXPIRES - MINUTE),
        (EXPIRES - MINUTE - 1, False, EXPIRES - MINUTE // 2),
        (EXPIRES - MINUTE + 1, True, EXPIRES - MINUTE),
    ],
)
def test_the_end_waits_a_minute_while_nothing_is_taken_and_never_into_its_own_time(since, failing, until):
    rules = {"margin": MINUTE, "own": MINUTE // 2, "wait": MINUTE}
    assert end_waits_until(EXPIRES, **rules, failing_since=since, failing=failing) == until


@pytest.mark.parametrize(
    ("since", "known", "retry_at", "now", "begun"),
    [
        (None, FAILED, FAILED, FAILED + MINUTE, None),
        (GONE, FAILED, FAILED, FAILED + MINUTE, GONE),
        (FAILED, None, FAILED + 5, FAILED + 5, FAILED),  # tried just when it was due
        (FAILED, None, FAILED + 5, FAILED + 5 + MINUTE, FAILED + MINUTE),  # nobody tried for a minute
        (FAILED, FAILED, FAILED + 5, FAILED + 7, FAILED + 2),
        (FAILED, FAILED + 1, FAILED + 5, FAILED + 7, None),  # before the end was known
        (FAILED, None, 0, FAILED + 7, FAILED + 7),
    ],
)
def test_a_run_of_failures_leaves_out_the_time_in_which_nobody_tried(since, known, retry_at, now, begun):
    assert failing_from(since, known, retry_at, now) == begun


@pytest.mark.parametrize("size", [0, -1, 1])
def test_a_limit_below_one_counts_as_one(size):
    calls = plan(Desired(OPEN, ("a", "b")), Delivered(), Limits(size)).calls
    assert [call.members for call in calls] == [("a",), ("b",)]
