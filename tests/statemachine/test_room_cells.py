"""Every state meets events that name people by openid: the expectation is written down, cell by cell."""

from __future__ import annotations

import pytest

from contracts.changes import EventRefused, ParticipantDone
from contracts.events import Added, Completed, EventData, Opened, Room
from tests.statemachine.test_cells import NOW, table
from tests.verification.model.harness import Machines
from tests.verification.model.histories import LAST, MARGIN, at, event, opened
from tests.verification.model.reference import Reference

ROOM = Room(opengid="r1")
ANN, BOB = "ann", "bob"
"""Done, and listed but not done. They are known by o-ann and o-bob; nobody is known by o-eve, nor o-cat."""
NAMED: dict[str, EventData] = {
    "completed eve": Completed((), ("o-eve",)),
    "completed bob": Completed((), ("o-bob",)),
    "completed bob twice": Completed((BOB,), ("o-bob",)),
    "completed ann": Completed((), ("o-ann",)),
    "completed ann and eve": Completed((ANN,), ("o-eve",)),
    "added eve": Added((), ("o-eve",)),
    "added bob": Added((), ("o-bob",)),
    "added bob and eve": Added((), ("o-bob", "o-eve")),
}
LISTED = table("""
    event                 | unopened | open      | nearing   | ended         | ended, in time
    completed eve         | parked   | applied   | applied   | applied       | applied
    completed bob         | parked   | applied   | applied   | refused ended | late
    completed bob twice   | parked   | applied   | applied   | refused ended | late
    completed ann         | parked   | duplicate | duplicate | duplicate     | duplicate
    completed ann and eve | parked   | applied   | applied   | applied       | applied
    added eve             | parked   | applied   | applied   | refused ended | refused ended
    added bob             | parked   | duplicate | duplicate | refused ended | refused ended
    added bob and eve     | parked   | applied   | applied   | refused ended | refused ended
""")
EVERYONE = table("""
    event                 | unopened | open      | nearing   | ended         | ended, in time
    completed eve         | parked   | applied   | applied   | applied       | applied
    completed bob         | parked   | applied   | applied   | refused ended | late
    completed ann         | parked   | duplicate | duplicate | duplicate     | duplicate
    added eve             | parked   | duplicate | duplicate | refused ended | refused ended
    added bob and eve     | parked   | duplicate | duplicate | refused ended | refused ended
""")
NO_ROOM = table("""
    event                 | unopened | open            | nearing         | ended           | ended, in time
    completed eve         | parked   | refused no_room | refused no_room | refused no_room | refused no_room
    completed ann and eve | parked   | duplicate       | duplicate       | duplicate       | duplicate
    added eve             | parked   | refused no_room | refused no_room | refused ended   | refused ended
""")
CELLS = [
    (opened(choose=choose, room=room, participants=(ANN, BOB)), name, where, outcome)
    for cells, choose, room in (
        (LISTED, "listed", ROOM),
        (EVERYONE, "everyone", ROOM),
        (NO_ROOM, "listed", None),
        (NO_ROOM, "everyone", None),
    )
    for (name, where), outcome in cells.items()
]
WAITS = ("completed eve", "completed ann and eve", "added eve", "added bob and eve")


def arrive(opening: Opened, where: str) -> tuple[Machines, Reference]:
    """Ann is done and the activity where it should be."""
    sides = Machines(MARGIN), Reference(MARGIN)
    for side in sides:
        for openid, member in (("o-ann", ANN), ("o-bob", BOB)):
            side.bind(("wx1", "r1"), openid, member)
        if where != "unopened":
            side.feed(event(opening, 0), at(0))
            side.feed(event(Completed((ANN,)), 1), at(1))
            side.fire(NOW.get(where, at(LAST + 1)))
    return sides


@pytest.mark.parametrize(("opening", "name", "where", "outcome"), CELLS)
def test_a_cell(opening: Opened, name: str, where: str, outcome: str) -> None:
    """And who waits does so, where that is the outcome; what is refused is told; nothing else is."""
    machines, reference = arrive(opening, where)
    before = machines.expected("a")
    time = at(20) if where == "ended, in time" else at(LAST)
    incoming = event(NAMED[name], 50, time=time, source="/cell")
    for side in (machines, reference):
        side.feed(incoming, NOW.get(where, at(LAST + 1)))
    said = machines.expected("a")
    assert said == reference.expected("a")
    assert " ".join(said.outcomes["/cell", "e50"]).strip() == outcome
    waits = name in WAITS and outcome == "applied"
    assert [each[1] for each in said.waiting] == (["o-eve"] if waits else [])
    news = said.published[len(before.published) :]
    no_room = opening.room is None and where != "unopened" and "ended" not in outcome
    assert [each.reason for each in news if isinstance(each, EventRefused)] == (
        ["no_room"] if no_room else [outcome.split()[1]] if outcome.startswith("refused") else []
    )
    done = [each.members for each in news if isinstance(each, ParticipantDone)]
    assert done == ([(BOB,)] if "bob" in name and outcome in ("applied", "late") and name[0] == "c" else [])
    raised = said.revision - before.revision
    assert raised == (len(done) if outcome != "late" else 0)
