"""The two tables: what they allow, and that nothing else moves a state."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from transitions import MachineError

from statemachine import states
from statemachine.model import Activity, Member
from statemachine.states import (
    ACTIVITY,
    ACTIVITY_TABLE,
    DONE,
    ENDED,
    NEARING,
    OPEN,
    PARTICIPANT,
    PARTICIPANT_TABLE,
    PENDING,
    TARGET_STATE,
    UNOPENED,
    IllegalTransition,
    move,
)

ALLOWED = {
    (OPEN, "near"): NEARING,
    (NEARING, "reopen"): OPEN,
    (OPEN, "end"): ENDED,
    (NEARING, "end"): ENDED,
}


@pytest.mark.parametrize("trigger", ["near", "reopen", "end", "complete", "to_open", "no such trigger"])
@pytest.mark.parametrize("state", [UNOPENED, OPEN, NEARING, ENDED])
def test_every_trigger_in_every_state_of_an_activity(state, trigger):
    """Four cells move; every other one is named illegal and changes nothing."""
    activity = Activity("a", state=state)
    if (state, trigger) in ALLOWED:
        move(ACTIVITY, activity, trigger)
        assert activity == Activity("a", state=ALLOWED[state, trigger])
    else:
        with pytest.raises(IllegalTransition):
            move(ACTIVITY, activity, trigger)
        assert activity == Activity("a", state=state)


@pytest.mark.parametrize("trigger", ["complete", "near", "end", "to_pending"])
@pytest.mark.parametrize("state", [PENDING, DONE])
def test_every_trigger_in_every_state_of_a_participant(state, trigger):
    """WeChat cannot take back that a member is done, so no table row does (wechat-api.md §1)."""
    member = Member("gp-alex", state=state)
    if (state, trigger) == (PENDING, "complete"):
        move(PARTICIPANT, member, trigger)
        assert member == Member("gp-alex", state=DONE)
    else:
        with pytest.raises(IllegalTransition):
            move(PARTICIPANT, member, trigger)
        assert member == Member("gp-alex", state=state)


def test_states_have_the_numbers_that_wechat_knows():
    assert TARGET_STATE == {OPEN: 1, NEARING: 2, ENDED: 3}


def test_machines_allow_what_the_tables_say_and_no_more():
    """No automatic `to_…` triggers, nothing added on the side."""
    for machine, table in ((ACTIVITY, ACTIVITY_TABLE), (PARTICIPANT, PARTICIPANT_TABLE)):
        built = {
            (name, source, transition.dest)
            for name, event in machine.events.items()
            for source, transitions in event.transitions.items()
            for transition in transitions
        }
        assert built == {(row["trigger"], row["source"], row["dest"]) for row in table}
        assert machine.models == []


def test_nothing_but_the_tables_assigns_a_state():
    """No code of the core writes to `.state` but `move`, by the tables. A card repeats its activity's state,
    and `raise_revision` is told it."""
    folder = Path(states.__file__).parent
    written = [
        f"{path.name}:{function.name}"
        for path in sorted(folder.glob("*.py"))
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "state" and isinstance(node.ctx, ast.Store)
    ]
    assert written == ["delivery.py:raise_revision", "states.py:move"]


@pytest.mark.parametrize(
    ("machine", "states"), [(ACTIVITY, (OPEN, NEARING, ENDED)), (PARTICIPANT, (PENDING, DONE))]
)
def test_a_row_looked_up_says_what_the_machine_would_do(machine, states):
    """`move` looks the row up; the library, asked to fire it, comes to the same state or to none."""
    for state in states:
        for trigger in machine.events:
            ours, theirs = Member("gp-alex", state=state), Member("gp-alex", state=state)
            try:
                machine.events[trigger].trigger(theirs)
            except MachineError:
                with pytest.raises(IllegalTransition):
                    move(machine, ours, trigger)
            else:
                move(machine, ours, trigger)
            assert ours == theirs
