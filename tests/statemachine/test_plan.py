"""The plan of calls (design.md §3, §6): what may be sent, in which order, and when nothing may."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.plan import Call, Delivered, Desired, Limits, Plan, plan, repair, target_of
from statemachine.states import ENDED, NEARING, OPEN, TARGET_STATE

STATES = (OPEN, NEARING, ENDED)

members = st.lists(st.from_regex(r"gp-[a-z0-9]{1,3}", fullmatch=True), unique=True, max_size=12).map(tuple)
limits = st.integers(1, 6).map(Limits)
targets = st.sampled_from([1, 2, 3])


@st.composite
def deliveries(draw: st.DrawFn) -> Delivered:
    """What WeChat confirmed, and what it may show. That a card cannot be lowered is learnt at 2 or later."""
    shown = draw(targets)
    may_show = draw(st.sampled_from([each for each in (1, 2, 3) if each >= shown]))
    return Delivered(shown, may_show, draw(st.booleans()) if may_show > 1 else False)


@st.composite
def wishes(draw: st.DrawFn) -> Desired:
    return Desired(
        draw(st.sampled_from(STATES)), draw(members), hold=draw(st.booleans()), expired=draw(st.booleans())
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Desired, Delivered]:
    """A card may show 3 only because its activity has ended."""
    desired, delivered = draw(wishes()), draw(deliveries())
    if desired.state != ENDED:
        delivered = Delivered(min(delivered.shown, 2), min(delivered.may_show, 2), delivered.cannot_lower)
    return desired, delivered


def confirm(desired: Desired, delivered: Delivered, call: Call) -> tuple[Desired, Delivered]:
    """WeChat said 0 to this call, and nothing is in doubt."""
    left = tuple(each for each in desired.owed if each not in call.members)
    shown = Delivered(call.target_state, call.target_state, delivered.cannot_lower)
    return msgspec.structs.replace(desired, owed=left), shown


@given(situations(), limits)
def test_the_card_is_lowered_only_because_its_activity_is_open_again(situation, limit):
    """Down from 2 to 1 only, only while the activity is open, never after 47502; never from 3."""
    desired, delivered = situation
    may_show = delivered.may_show
    for call in plan(desired, delivered, limit).calls:
        if call.target_state < may_show:
            assert (may_show, call.target_state, desired.state) == (2, 1, OPEN)
            assert not delivered.cannot_lower
        may_show = call.target_state


@given(situations(), limits)
def test_everybody_owed_is_in_exactly_one_call_or_left_out_unless_the_id_is_dead(situation, limit):
    desired, delivered = situation
    planned = plan(desired, delivered, limit)
    named = [each for call in planned.calls for each in call.members]
    expected = () if desired.expired else desired.owed
    assert sorted([*named, *planned.left_out]) == sorted(expected)


@given(situations(), limits)
def test_no_list_is_longer_than_the_limit_and_no_call_is_idle(situation, limit):
    desired, delivered = situation
    planned = plan(desired, delivered, limit)
    true = {delivered.shown} if delivered.shown == delivered.may_show else set()
    for call in planned.calls:
        assert len(call.members) <= limit.members_per_call
        assert call.members or call.target_state not in true
        true = {call.target_state}
    lists = [len(call.members) for call in planned.calls if call.members]
    assert all(size == limit.members_per_call for size in lists[:-1])


@given(situations(), limits)
def test_nothing_is_sent_after_expiry(situation, limit):
    desired, delivered = situation
    dead = msgspec.structs.replace(desired, expired=True)
    assert plan(dead, delivered, limit) == Plan()
    assert repair(dead, delivered) == Plan()


@given(members, targets, st.booleans(), limits)
def test_once_the_end_was_called_nobody_follows_it(owed, shown, hold, limit):
    calls = () if shown == 3 else (Call(3),)
    planned = plan(Desired(ENDED, owed, hold=hold), Delivered(shown, 3), limit)
    assert planned == Plan(calls, left_out=owed)


@given(members, deliveries(), limits)
def test_the_end_goes_alone_and_last_after_the_members_with_the_state_that_may_be_shown(
    owed, delivered, limit
):
    if delivered.may_show == 3:
        return
    *before, last = plan(Desired(ENDED, owed), delivered, limit).calls
    assert last == Call(3)
    assert {call.target_state for call in before} <= {delivered.may_show}
    assert tuple(each for call in before for each in call.members) == owed


@given(members, deliveries(), limits)
def test_an_end_that_waited_long_enough_goes_without_those_owed(owed, delivered, limit):
    planned = plan(Desired(ENDED, owed, hold=False), delivered, limit)
    assert planned == Plan(() if delivered.shown == 3 else (Call(3),), left_out=owed)


@given(situations(), limits)
def test_executing_call_by_call_converges_without_repeating_anybody(situation, limit):
    """One call per claim, then settle and plan anew: the same calls as the first plan, then none."""
    desired, delivered = situation
    first = plan(desired, delivered, limit)
    sent: list[Call] = []
    while (planned := plan(desired, delivered, limit)).calls:
        call = planned.calls[0]
        sent.append(call)
        desired, delivered = confirm(desired, delivered, call)
        assert len(sent) <= len(first.calls)
    assert tuple(sent) == first.calls
    named = [each for call in sent for each in call.members]
    assert len(named) == len(set(named))
    if not desired.expired:
        assert delivered.shown == delivered.may_show == target_of(desired, delivered)


stories = st.lists(
    st.tuples(
        st.sampled_from([OPEN, NEARING]),
        st.lists(st.integers(0, 9), max_size=3),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@given(stories, limits)
def test_news_between_calls_never_repeats_a_delivered_member(story, limit):
    """States come and go and members become done while calls are made: in the end all is told, once."""
    delivered, done, told = Delivered(), dict[str, None](), list[str]()
    ending: list[tuple[str, list[int], bool, bool]] = [(ENDED, [], False, True)] * 15
    for state, finished, refuses_to_lower, executed in [*story, *ending]:
        done.update(dict.fromkeys(f"gp-{number}" for number in finished))
        owed = tuple(each for each in done if each not in told)
        calls = plan(Desired(state, owed), delivered, limit).calls
        if not calls or not executed:
            continue
        call = calls[0]
        if call.target_state < delivered.may_show:
            assert not delivered.cannot_lower
            if refuses_to_lower:
                delivered = msgspec.structs.replace(delivered, cannot_lower=True)
                continue
        assert not set(call.members) & set(told)
        told.extend(call.members)
        delivered = Delivered(call.target_state, call.target_state, delivered.cannot_lower)
    assert delivered.shown == 3
    assert sorted(told) == sorted(done)


@pytest.mark.parametrize("may_show", [1, 2])
@pytest.mark.parametrize("shown", [1, 2])
@pytest.mark.parametrize("state", [OPEN, NEARING])
def test_no_difference_no_call_and_a_doubtful_state_is_a_difference(state, shown, may_show):
    target = TARGET_STATE[state]
    expected = () if target == shown == may_show else (Call(target),)
    assert plan(Desired(state), Delivered(shown, may_show), Limits()).calls == expected


def test_members_travel_with_the_current_state_in_one_call():
    owed = ("gp-a", "gp-b")
    assert plan(Desired(NEARING, owed), Delivered(), Limits()).calls == (Call(2, owed),)
    assert plan(Desired(OPEN, owed), Delivered(2, 2), Limits()).calls == (Call(1, owed),)
    assert plan(Desired(OPEN, owed), Delivered(), Limits(1)).calls == (
        Call(1, ("gp-a",)),
        Call(1, ("gp-b",)),
    )


def test_a_call_to_two_whose_outcome_is_unknown_makes_two_the_last_open_state():
    owed = ("gp-a", "gp-b")
    assert plan(Desired(ENDED, owed), Delivered(1, 2), Limits()).calls == (Call(2, owed), Call(3))


@pytest.mark.parametrize(
    ("desired", "delivered", "calls"),
    [
        (Desired(OPEN, ("gp-a",)), Delivered(), (Call(1),)),
        (Desired(OPEN), Delivered(), (Call(1),)),
        (Desired(NEARING, ("gp-a",)), Delivered(), (Call(2),)),
        (Desired(ENDED, ("gp-a",)), Delivered(1, 2), (Call(2), Call(3))),
        (Desired(ENDED), Delivered(), (Call(1), Call(3))),
    ],
)
def test_with_a_limit_of_none_the_state_goes_alone_and_leaves_nobody_out(desired, delivered, calls):
    """Whether the request itself is wrong is asked with nobody, while an end waits too (design.md §6)."""
    assert plan(desired, delivered, Limits(0)) == Plan(calls)


def test_a_card_that_cannot_be_lowered_stays_at_two_and_still_ends():
    """47502 to a 2→1: an open activity is planned as 2, members travel with 2, 3 follows (design.md §6)."""
    stuck = Delivered(2, 2, cannot_lower=True)
    assert plan(Desired(OPEN), stuck, Limits()) == Plan()
    assert plan(Desired(OPEN, ("gp-a",)), stuck, Limits()).calls == (Call(2, ("gp-a",)),)
    assert plan(Desired(ENDED, ("gp-a",)), stuck, Limits()).calls == (Call(2, ("gp-a",)), Call(3))
    assert repair(Desired(OPEN), stuck).calls == (Call(2),)


@given(situations())
def test_a_repair_says_the_state_once_with_nobody(situation):
    desired, delivered = situation
    calls = repair(desired, delivered).calls
    assert calls == (() if desired.expired else (Call(target_of(desired, delivered)),))
    assert not any(delivered.cannot_lower and call.target_state < 2 for call in calls)


@pytest.mark.parametrize(("state", "shown"), [(OPEN, 1), (NEARING, 2), (ENDED, 3)])
def test_a_repair_repeats_what_is_true_even_the_end(state, shown):
    assert repair(Desired(state), Delivered(shown, shown)).calls == (Call(shown),)
