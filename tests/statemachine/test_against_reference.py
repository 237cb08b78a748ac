"""Whatever comes, in whatever order: the machines know what the reference model knows."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.events import Completed, Event, Opened, Rescheduled
from tests.verification.model.harness import Machines
from tests.verification.model.histories import (
    MARGIN,
    PEOPLE,
    STEP,
    Announce,
    Bind,
    Step,
    additions,
    at,
    closings,
    completions,
    event,
    events,
    histories,
    known,
    lines,
    moments,
    opened,
    passed_on,
    reschedules,
)
from tests.verification.model.reference import Reference

HOMES = ("a", "b")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no reason to fail."""

far = st.builds(Rescheduled, deadline=st.sampled_from([None, at(20), at(30)]), notice=st.none() | st.just(30))
quiet = completions | completions | additions | closings | far
"""What brings nothing due at the start."""


def run(line: Machines | Reference, steps: list[Step]) -> None:
    """Play a history on either side."""
    for what, now in steps:
        if isinstance(what, Event):
            line.feed(what, now)
        elif isinstance(what, Announce):
            line.announce(what.home, what.appid)
        elif isinstance(what, Bind):
            for wait in sorted(line.bind(what.room, what.openid, what.member)):
                line.feed(known(wait, what.member), now)
        elif what is None:
            line.fire(now)
        else:
            line.expire(what, now)
        passed = line.passed()
        while passed:  # it may be too late there, too
            line.feed(passed_on(passed.pop(0)), now)
            passed += line.passed()


@settings(PATIENT, max_examples=1500)
@given(histories())
def test_any_history_gives_what_the_reference_model_says(steps):
    """Any events, any times, anything before `opened`, timers at any moment: equal after every step."""
    machines, reference = Machines(MARGIN), Reference(MARGIN)
    for step in steps:
        run(machines, [step])
        run(reference, [step])
        for home in HOMES:
            assert machines.expected(home) == reference.expected(home)
    assert machines.repeats == reference.repeats


@settings(PATIENT, max_examples=150)
@given(histories(), st.data())
def test_a_repeated_event_changes_nothing_wherever_it_comes_again(steps, data):
    again = [(what, now) for what, now in steps if isinstance(what, Event)]
    once, often = Machines(MARGIN), Machines(MARGIN)
    run(once, steps)
    for index, step in enumerate(steps):
        run(often, [step])
        past = [each for each in again if each in steps[: index + 1]]
        if past:
            what, _ = data.draw(st.sampled_from(past))
            run(often, [(what, data.draw(moments))])
    for home in HOMES:
        assert often.expected(home) == once.expected(home)


@settings(PATIENT, max_examples=150)
@given(st.lists(st.tuples(events(completions | additions), moments), max_size=12))
def test_the_same_said_under_a_new_id_counts_once(steps):
    """A producer that repeats itself without repeating its ids changes no card either."""
    once, often = Machines(MARGIN), Machines(MARGIN)
    begin: list[Step] = [(event(opened(), 100, home=home, source=home), at(0)) for home in HOMES]
    run(once, begin)
    run(often, begin)
    for number, (what, now) in enumerate(steps):
        said = msgspec.structs.replace(what, id=f"said-{number}")
        again = msgspec.structs.replace(what, id=f"again-{number}")
        run(once, [(said, now), (None, now)])
        run(often, [(said, now), (again, now), (None, now)])
    for home in HOMES:
        one, other = once.expected(home), often.expected(home)
        assert (one.state, one.done, one.late, one.listed) == (
            other.state,
            other.done,
            other.late,
            other.listed,
        )
        assert one.revision == other.revision


@settings(PATIENT, max_examples=200)
@given(st.lists(quiet, min_size=1, max_size=10), st.data(), st.booleans())
def test_arrival_before_opened_never_matters(datas, data, close_when_complete):
    """Wherever the opening comes among the others, while nothing is due: the same card, the same fate."""
    first = event(opened(close_when_complete=close_when_complete), 99, source="/open")
    others = [event(each, number, time=at(number)) for number, each in enumerate(datas)]
    place = data.draw(st.integers(0, len(others)))
    usual, overtaken = Machines(MARGIN), Machines(MARGIN)
    run(usual, [(each, at(0)) for each in (first, *others)])
    run(overtaken, [(each, at(0)) for each in (*others[:place], first, *others[place:])])
    assert overtaken.expected("a") == usual.expected("a")


@settings(PATIENT, max_examples=200)
@given(
    st.lists(completions | additions | reschedules, max_size=8), st.randoms(use_true_random=False), moments
)
def test_whatever_arrives_before_opened_in_any_order_is_not_lost(datas, random, now):
    """Each early event has its outcome at the opening, and each listed member's completion shows."""
    early = [event(each, number, time=now) for number, each in enumerate(datas)]
    random.shuffle(early)
    machines = Machines(MARGIN)
    run(machines, [(each, now) for each in early])
    assert {outcome for outcome, _ in machines.outcomes.values()} <= {"parked"}
    opening = event(opened(participants=PEOPLE), 99, time=now, source="/open")
    run(machines, [(opening, min(now, at(39)))])
    said = machines.expected("a")
    finished = {each for one in early if isinstance(one.data, Completed) for each in one.data.members}
    assert said.done == finished
    assert set(said.outcomes) == {(each.source, each.id) for each in (*early, opening)}
    assert "parked" not in {outcome for outcome, _ in said.outcomes.values()}
    assert not machines.parked["a"]


@settings(PATIENT, max_examples=150)
@given(histories())
def test_nothing_comes_back(steps):
    """Who is done stays done, `ended` stays ended with its reason, revisions never fall."""
    machines = Machines(MARGIN)
    before = {home: machines.expected(home) for home in HOMES}
    for step in steps:
        run(machines, [step])
        for home in HOMES:
            now, then = machines.expected(home), before[home]
            assert now.done >= then.done
            assert now.late >= then.late
            assert now.revision >= then.revision
            if then.state == "ended":
                assert (now.state, now.reason, now.revision) == (then.state, then.reason, then.revision)
            before[home] = now


@settings(PATIENT, max_examples=150)
@given(histories())
def test_the_ids_of_changes_are_deterministic_and_unique_within_an_activity(steps):
    one, other = Machines(MARGIN), Machines(MARGIN)
    run(one, steps)
    run(other, steps)
    for home in HOMES:
        keys = [each.key for each in one.published.get(home, [])]
        assert keys == [each.key for each in other.published.get(home, [])]
        assert len(keys) == len(set(keys))


def test_the_reference_hears_of_many_activities_and_forgets_the_buried():
    reference = Reference(MARGIN)
    lost = event(Completed(("ann",)), 1, home="b")
    for each in (event(opened(), 0), lost, event(Completed(("ann",)), 2)):
        reference.feed(each, at(0))
    assert reference.expected("b").outcomes == {("/s", "e1"): ("parked", "")}
    reference.bury(lost)
    assert reference.expected("b").outcomes == {("/s", "e1"): ("dead", "")}
    reference.feed(lost, at(1))
    assert reference.expected("b").outcomes == {("/s", "e1"): ("parked", "")}
    assert reference.expected("a").done == {"ann"}
    assert isinstance(event(opened()).data, Opened)


@settings(PATIENT, max_examples=1500)
@given(lines(), st.sampled_from([0, 3, 12]))
def test_cards_that_continue_each_other_give_what_the_reference_model_says(steps, expiring):
    """Whichever is opened first, continued twice, by itself or by a stranger; warnings before the id dies."""
    machines, reference = Machines(MARGIN, expiring * STEP), Reference(MARGIN, expiring * STEP)
    for step in steps:
        run(machines, [step])
        run(reference, [step])
        for home in ("a", "b", "c"):
            assert machines.expected(home) == reference.expected(home)
