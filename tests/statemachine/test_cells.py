"""Every state meets every event: the expectation is written down, cell by cell (design.md §3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from contracts.changes import ActivityChanged, EventRefused, ParticipantDone
from contracts.events import Added, Closed, Completed, Event, EventData, Opened, Rescheduled
from tests.verification.model.harness import Machines
from tests.verification.model.histories import LAST, MARGIN, at, event, opened
from tests.verification.model.reference import Reference

STATES = ("unopened", "open", "nearing", "ended")
REASONS = ("deadline", "closed", "complete", "expired", "47504")
SITUATIONS = ("unopened", "open", "nearing", *(f"ended:{reason}" for reason in REASONS))

# ann is done, bob is listed and not done, cat becomes known where an end by completion needs her.
ENDED_AT = {
    "ended:deadline": at(20),
    "ended:closed": at(5),
    "ended:complete": at(7),
    "ended:expired": at(LAST) - MARGIN,
    "ended:47504": at(12),
}
NOW = {"unopened": at(3), "open": at(3), "nearing": at(15)}


def opening(situation: str, choose: str) -> Opened:
    """The opening that the situation began with. 300 s of notice: nearing from at(10) on."""
    deadline = None if situation in ("ended:expired", "ended:47504") else at(20)
    people = ("ann", "cat") if situation == "ended:complete" else ("ann", "bob")
    complete = situation == "ended:complete"
    return opened(choose=choose, participants=people, deadline=deadline, close_when_complete=complete)


def history(situation: str, choose: str) -> list[tuple[Event | str | None, int]]:
    """What leads there, by events and timers alone: (event, 47504 or time passing, now)."""
    first = opening(situation, choose)
    begun: list[tuple[Event | str | None, int]] = [
        (event(first, 0), at(0)),
        (event(Completed(("ann",)), 1, time=at(1)), at(1)),
        (event(Rescheduled(deadline=first.deadline), 2, time=at(2)), at(2)),
    ]
    further: dict[str, list[tuple[Event | str | None, int]]] = {
        "open": [],
        "nearing": [(None, at(10))],
        "ended:deadline": [(None, at(10)), (None, at(20))],
        "ended:closed": [(event(Closed(), 3, time=at(5)), at(6))],
        "ended:complete": [(event(Completed(("cat",)), 3, time=at(7)), at(8))],
        "ended:expired": [(None, at(LAST))],
        "ended:47504": [("a", at(12))],
    }
    return [] if situation == "unopened" else begun + further[situation]


def arrive(situation: str, choose: str) -> tuple[Machines, Reference]:
    """The machines, and the reference, in that situation."""
    sides = Machines(MARGIN), Reference(MARGIN)
    for side in sides:
        for what, now in history(situation, choose):
            if isinstance(what, Event):
                side.feed(what, now)
            elif what is None:
                side.fire(now)
            else:
                side.expire(what, now)
    state, _, reason = situation.partition(":")
    said = sides[0].expected("a")
    assert said.state == ("" if state == "unopened" else state)
    assert said.reason == ("expired" if reason == "47504" else reason)
    assert said.ended_at == ENDED_AT.get(situation)
    return sides


def now_of(situation: str) -> int:
    return NOW.get(situation, at(LAST + 1))


def table(text: str) -> dict[tuple[str, str], str]:
    """A table drawn in text: (row, column) → cell."""
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return {(row[0], column): cell for row in rows for column, cell in zip(head[1:], row[1:], strict=True)}


def meet(situation: str, choose: str, data: EventData, time: int) -> tuple[str, Machines, Machines]:
    """The event arrives: its outcome in words, the machines before and after; the reference agrees."""
    after, reference = arrive(situation, choose)
    before = copy.deepcopy(after)
    incoming = event(data, 50, time=time, source="/cell")
    for side in (after, reference):
        side.feed(incoming, now_of(situation))
    said = after.expected("a")
    assert said == reference.expected("a")
    kind, reason = said.outcomes["/cell", "e50"]
    return f"{kind} {reason}".strip(), before, after


def check_quiet(outcome: str, before: Machines, after: Machines) -> None:
    """Illegal input changes nothing, and only a refusal is told."""
    assert after.activities == {**before.activities, "a": after.activities["a"]}
    assert after.expected("a").state == before.expected("a").state
    if "a" in before.activities:
        assert after.activities["a"] == before.activities["a"]
    assert after.members.get("a", {}) == before.members.get("a", {})
    told = news(before, after)
    if outcome.startswith("refused"):
        assert [(type(each), each.reason) for each in told] == [(EventRefused, outcome.split()[1])]
    else:
        assert told == []


def news(before: Machines, after: Machines) -> list[Any]:
    """What was published in between."""
    then = before.expected("a").published
    return list(after.expected("a").published[len(then) :])


COMPLETED = table(
    """
    state             | listed, pending | listed, done | not listed         | everyone, new | everyone, done
    unopened          | parked          | parked       | parked             | parked        | parked
    open              | applied         | duplicate    | refused not_listed | applied       | duplicate
    nearing           | applied         | duplicate    | refused not_listed | applied       | duplicate
    ended, before it  | late            | duplicate    | refused not_listed | late          | duplicate
    ended, at it      | late            | duplicate    | refused not_listed | late          | duplicate
    ended, 1 µs after | refused ended   | duplicate    | refused not_listed | refused ended | duplicate
    """
)
WHO = {
    "listed, pending": ("listed", "bob"),
    "listed, done": ("listed", "ann"),
    "not listed": ("listed", "dan"),
    "everyone, new": ("everyone", "dan"),
    "everyone, done": ("everyone", "ann"),
}
WHEN = {"before it": -at(1) + at(0), "at it": 0, "1 µs after": 1}


def completions() -> list[Any]:
    cells = []
    for (row, column), outcome in COMPLETED.items():
        state, _, when = row.partition(", ")
        for situation in SITUATIONS:
            # An end by completion leaves nobody listed pending, and `everyone` never has one.
            impossible = situation == "ended:complete" and column not in ("listed, done", "not listed")
            if situation.partition(":")[0] == state and not impossible:
                cells.append(
                    pytest.param(situation, column, when, outcome, id=f"{situation}-{column}-{when}")
                )
    return cells


@pytest.mark.parametrize(("situation", "column", "when", "outcome"), completions())
def test_a_completion_in_every_state(situation, column, when, outcome):
    choose, member = WHO[column]
    time = ENDED_AT[situation] + WHEN[when] if when else now_of(situation)
    said, before, after = meet(situation, choose, Completed((member,)), time)
    assert said == outcome
    if outcome not in ("applied", "late"):
        check_quiet(outcome, before, after)
        return
    row = after.members["a"][member]
    assert (row.state, row.late, row.owed) == ("done", outcome == "late", outcome == "applied")
    raised = after.activities["a"].revision - before.activities["a"].revision
    assert raised == (1 if outcome == "applied" else 0)
    assert news(before, after) == [ParticipantDone((member,))]


# "→ nearing" is a transition to that state; "+2" is how far the revision rises.
OTHERS = table(
    """
    event                   | unopened        | open                 | nearing              | ended
    opened, equal           | applied → open  | duplicate            | duplicate            | duplicate
    opened, different       | applied → open  | refused already_open | refused already_open | refused ended
    rescheduled, far        | parked          | applied +0           | applied → open +1    | refused ended
    rescheduled, near       | parked          | applied → nearing +1 | applied +0           | refused ended
    rescheduled, past       | parked          | applied → ended +2   | applied → ended +1   | refused ended
    rescheduled, no deadline | parked         | applied +0           | applied → open +1    | refused ended
    rescheduled, older time | parked          | refused superseded   | refused superseded   | refused ended
    closed                  | parked          | applied → ended +1   | applied → ended +1   | refused ended
    added, new to listed    | parked          | applied +0           | applied +0           | refused ended
    added, listed already   | parked          | duplicate            | duplicate            | refused ended
    added to everyone       | parked          | duplicate            | duplicate            | refused ended
    """
)


def others() -> list[Any]:
    return [
        pytest.param(situation, name, cell, id=f"{situation}-{name}")
        for (name, state), cell in OTHERS.items()
        for situation in SITUATIONS
        if situation.partition(":")[0] == state
    ]


def data_of(name: str, situation: str, choose: str) -> EventData:
    now = now_of(situation)
    made: dict[str, EventData] = {
        "opened, equal": opening(situation, choose),
        "opened, different": opened(title="another", choose=choose),
        "rescheduled, far": Rescheduled(deadline=at(35)),
        "rescheduled, near": Rescheduled(deadline=now + 300_000_000),
        "rescheduled, past": Rescheduled(deadline=now),
        "rescheduled, no deadline": Rescheduled(deadline=None),
        "rescheduled, older time": Rescheduled(deadline=at(35)),
        "closed": Closed(),
        "added, new to listed": Added(("dan", "ann")),
        "added, listed already": Added(("ann",)),
        "added to everyone": Added(("dan",)),
    }
    return made[name]


@pytest.mark.parametrize(("situation", "name", "cell"), others())
def test_every_other_event_in_every_state(situation, name, cell):
    # An end by completion is for listed activities only; there everybody in question is listed.
    everyone = name == "added to everyone" and situation != "ended:complete"
    choose = "everyone" if everyone else "listed"
    time = at(2) - 1 if name == "rescheduled, older time" else now_of(situation)
    said, before, after = meet(situation, choose, data_of(name, situation, choose), time)
    outcome, _, rise = cell.partition(" +")
    outcome, _, state = outcome.partition(" → ")
    assert said == outcome
    if outcome != "applied":
        check_quiet(outcome, before, after)
        return
    assert after.activities["a"].state == (state or before.activities["a"].state)
    if rise:
        assert after.activities["a"].revision - before.activities["a"].revision == int(rise)
        assert len(news(before, after)) == int(rise)
        assert all(isinstance(each, ActivityChanged) for each in news(before, after))


TIMERS = table(
    """
    what            | unopened | open          | nearing    | ended
    long before     | nothing  | nothing       | nothing    | nothing
    1 µs before near | nothing | nothing       | nothing    | nothing
    near            | nothing  | nearing       | nothing    | nothing
    1 µs before end | nothing  | nearing       | nothing    | nothing
    end             | nothing  | nearing ended | ended      | nothing
    an hour later   | nothing  | nearing ended | ended      | nothing
    47504           | nothing  | ended         | ended      | nothing
    """
)
MOMENTS = {
    "long before": at(3),
    "1 µs before near": at(10) - 1,
    "near": at(10),
    "1 µs before end": at(20) - 1,
    "end": at(20),
    "an hour later": at(140),
}


def timers() -> list[Any]:
    return [
        pytest.param(situation, what, cell, id=f"{situation}-{what}")
        for (what, state), cell in TIMERS.items()
        for situation in SITUATIONS
        if situation.partition(":")[0] == state
    ]


@pytest.mark.parametrize(("situation", "what", "cell"), timers())
def test_every_timer_in_every_state(situation, what, cell):
    after, reference = arrive(situation, "listed")
    before = copy.deepcopy(after)
    for side in (after, reference):
        if what == "47504":
            side.expire("a", now_of(situation))
        else:
            side.fire(MOMENTS[what])
    assert after.expected("a") == reference.expected("a")
    told = news(before, after)
    assert " ".join(each.state for each in told) == ("" if cell == "nothing" else cell)
    if cell == "nothing":
        assert after.expected("a") == before.expected("a")
