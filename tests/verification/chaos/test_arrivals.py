"""The judge finds the moments at which the store decided, whatever lay between them and the admissions."""

from __future__ import annotations

import pytest

from contracts.events import Event, Opened, Rescheduled
from contracts.times import SECOND
from tests.verification.chaos.arrivals import follow
from tests.verification.chaos.honest import BEGIN, LEASE, published
from tests.verification.chaos.record import Arrival, Record, Taken
from tests.verification.model.reference import Reference

MARGIN = 60 * SECOND


def event(number: int, data: Opened | Rescheduled, at: int) -> Arrival:
    return Arrival(Event("/s", f"e{number}", "t", "a", at, data), 0, number, at)


@pytest.mark.parametrize("decided", [3, 7])
def test_a_reschedule_that_waited_for_its_lock_beyond_its_own_notice(decided: int) -> None:
    """Admitted after 3 s, decided then or after 7: the new notice begins after 6, so only then it reopens."""
    opened = Opened(
        appid="wx1",
        template="complete",
        expires_at=BEGIN + 3_600 * SECOND,
        choose="everyone",
        deadline=BEGIN + 8 * SECOND,
        notice=6,
    )
    moved = Rescheduled(deadline=BEGIN + 12 * SECOND)
    firsts = [event(1, opened, BEGIN + 2 * SECOND), event(2, moved, BEGIN + 3 * SECOND)]
    true = Reference(MARGIN)
    true.feed(firsts[0].event, BEGIN + 2 * SECOND)
    true.feed(firsts[1].event, BEGIN + decided * SECOND)
    end = BEGIN + 60 * SECOND
    true.fire(end)
    told = true.expected("a").published
    assert len(told) == (5 if decided == 3 else 3)
    record = Record(1, BEGIN, end, MARGIN, LEASE, 2, 2)
    for each in firsts:
        record.taken[each.event.source, each.event.id] = Taken("applied", "", each.at)
    changes = [published("a", number, end, data).change for number, data in enumerate(told)]
    assert follow(record, "a", firsts, changes).published == told
