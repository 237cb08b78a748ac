"""An opening that continues another card meets that one in every state: cell by cell (design.md §8)."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.changes import CardExpiring
from contracts.events import Completed, Event, Opened, Room
from tests.statemachine.test_cells import history, now_of, table
from tests.verification.model.harness import Machines
from tests.verification.model.histories import LAST, MARGIN, STEP, at, event, opened
from tests.verification.model.reference import Reference

LATER = LAST + 100
"""The id of the card that continues dies so much later."""

# The earlier card is `a`: ann is done there, bob (or cat) is listed and not done. `b` continues it.
CELLS = table(
    """
    earlier        | outcome | earlier is         | b is    | deadline | who is done
    unopened       | parked  | unopened           | nothing |          |
    open           | applied | ended continued +1 | open    | carried  | ann
    nearing        | applied | ended continued +1 | nearing | carried  | ann
    ended:deadline | applied | ended deadline +0  | open    | none     | ann
    ended:closed   | applied | ended closed +0    | open    | none     | ann
    ended:complete | applied | ended complete +0  | open    | none     | ann cat
    ended:expired  | applied | ended expired +0   | open    | none     | ann
    ended:47504    | applied | ended expired +0   | open    | none     | ann
    """
)


def arrive(situation: str, choose: str = "listed") -> tuple[Machines, Reference]:
    sides = Machines(MARGIN), Reference(MARGIN)
    for side in sides:
        for what, now in history(situation, choose):
            if isinstance(what, Event):
                side.feed(what, now)
            elif what is None:
                side.fire(now)
            else:
                side.expire(what, now)
    return sides


def follow(**changed: Any) -> Opened:
    facts = {"participants": (), "deadline": None, "notice": None, "expires_at": at(LATER), "continues": "a"}
    return opened(**{**facts, **changed})


def meet(situation: str, data: Opened, choose: str = "listed") -> tuple[str, Machines, int]:
    """The outcome, the machines, and by how much the earlier one's revision rose; the reference agrees."""
    machines, reference = arrive(situation, choose)
    before = machines.expected("a").revision
    for side in (machines, reference):
        side.feed(event(data, 70, home="b", time=now_of(situation)), now_of(situation))
    for home in ("a", "b"):
        assert machines.expected(home) == reference.expected(home)
    outcome = " ".join(filter(None, machines.outcomes["/s", "e70"]))
    return outcome, machines, machines.expected("a").revision - before


@pytest.mark.parametrize("situation", sorted({row for row, _ in CELLS}))
def test_the_earlier_card_in_every_state(situation):
    outcome, machines, raised = meet(situation, follow())
    cell = {column: text for (row, column), text in CELLS.items() if row == situation}
    assert outcome == cell["outcome"]
    earlier, later = machines.expected("a"), machines.expected("b")
    if outcome == "parked":
        assert (earlier.state, later.state) == ("", "")
        assert [each.id for each in machines.heirs["a"]] == ["e70"]
        return
    assert f"{earlier.state} {earlier.reason} +{raised}" == cell["earlier is"]
    assert later.state == cell["b is"]
    assert machines.activities["b"].deadline == (at(20) if cell["deadline"] == "carried" else None)
    assert machines.activities["b"].notice == (300 if cell["deadline"] == "carried" else 3600) * 1_000_000
    assert " ".join(sorted(later.done)) == cell["who is done"]
    assert later.revision == 2 + (later.state == "nearing")


@pytest.mark.parametrize(
    ("given", "listed", "done"),
    [
        ({}, {"ann", "bob"}, {"ann"}),
        ({"participants": ("ann", "eve")}, {"ann", "eve"}, {"ann"}),
        ({"participants": ("eve",)}, {"eve"}, set()),
        ({"choose": "everyone"}, None, {"ann"}),
    ],
)
def test_members_go_along_unless_they_are_given(given, listed, done):
    _, machines, _ = meet("open", follow(**given))
    later = machines.expected("b")
    assert (None if later.listed is None else {*later.listed}) == listed
    assert later.done == done
    assert later.revision == (2 if done else 1)


def test_of_a_card_for_everyone_those_who_are_done_go_along():
    for choose, listed in (("everyone", None), ("listed", {"ann"})):
        _, machines, _ = meet("open", follow(choose=choose), "everyone")
        assert machines.expected("b").listed == listed
        assert machines.expected("b").done == {"ann"}


def test_deadline_and_notice_are_its_own_where_they_are_given():
    _, machines, _ = meet("open", follow(deadline=at(30), notice=3600))
    later = machines.activities["b"]
    assert (later.deadline, later.notice, later.state) == (at(30), 3_600_000_000, "nearing")


@pytest.mark.parametrize(
    "stranger", [{"appid": "wx2"}, {"room": Room(opengid="r1")}, {"continues": "b"}], ids=str
)
@pytest.mark.parametrize("situation", ["open", "nearing", "ended:closed"])
def test_what_it_may_not_continue(situation, stranger):
    outcome, machines, raised = meet(situation, follow(**stranger))
    assert outcome == "refused unknown_predecessor"
    assert (raised, machines.expected("b").state) == (0, "")


def test_that_all_are_done_already_completes_nothing():
    """Only a completion does."""
    _, machines, _ = meet("ended:complete", follow(close_when_complete=True))
    assert machines.expected("b").state == "open"


def test_a_warning_is_told_once_and_in_the_order_of_time():
    """Before or after the card is nearing, and never where the end comes first."""
    for notice, kinds in (
        (300, ["open", "nearing", "warned", "ended"]),
        (60, ["open", "warned", "nearing", "ended"]),
    ):
        machines = Machines(MARGIN, 6 * STEP)
        machines.feed(event(opened(deadline=at(LAST) - MARGIN, notice=notice)), at(0))
        machines.fire(at(LAST))
        machines.fire(at(LAST + 1))
        said: list[Any] = [*machines.expected("a").published]
        assert ["warned" if isinstance(each, CardExpiring) else each.state for each in said] == kinds
    machines = Machines(MARGIN, MARGIN)
    machines.feed(event(opened()), at(0))
    machines.feed(event(Completed(("ann",)), 1), at(LAST))
    assert not any(isinstance(each, CardExpiring) for each in machines.expected("a").published)
