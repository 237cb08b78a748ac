"""How events are cut into batches changes nothing: one aggregate for many is as good as one for each."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import Added, Completed, Event
from statemachine import activity as machine
from statemachine.model import Aggregate
from statemachine.states import UNOPENED
from tests.verification.model.harness import Machines
from tests.verification.model.histories import MARGIN, events, moments

Batch = tuple[list[Event], int]


class Batched(Machines):
    """Takes batches as the store does: an activity is read once, with everybody that its events name."""

    def take(self, batch: Sequence[Event], now: int) -> None:
        """One transaction: read, fold in order of arrival, write."""
        new = []
        for each in batch:
            key = (each.source, each.id)
            self.repeats += key in self.homes
            if key not in self.homes:
                self.homes[key] = each.activity_id
                new.append(each)
        aggregates: dict[str, Aggregate] = {}
        for each in new:
            if each.activity_id not in aggregates:
                aggregates[each.activity_id] = self._gather(each, new)
            aggregate = aggregates[each.activity_id]
            for one, outcome in machine.handle(aggregate, each, now, self.rules):
                self.outcomes[one.source, one.id] = (outcome.kind, outcome.reason)
        for name, aggregate in aggregates.items():
            self._write(aggregate)
            self.parked[name] = aggregate.early

    def _gather(self, first: Event, batch: Sequence[Event]) -> Aggregate:
        aggregate = self._read(first)
        if aggregate.activity.state != UNOPENED:
            for each in batch:
                if each.activity_id == first.activity_id and isinstance(each.data, Completed | Added):
                    aggregate.members.update(self._read(each).members)
        return aggregate


def cut(draw: st.DrawFn) -> list[Batch]:
    """Some batches, one after the other."""
    nows = sorted(draw(st.lists(moments, min_size=1, max_size=5)))
    return [(draw(st.lists(events(), max_size=6)), now) for now in nows]


@settings(max_examples=600, deadline=None)
@given(st.composite(cut)())
def test_a_batch_comes_to_what_its_events_come_to_one_by_one(batches):
    together, alone = Batched(MARGIN), Machines(MARGIN)
    for batch, now in batches:
        together.take(batch, now)
        for each in batch:
            alone.feed(each, now)
    for home in ("a", "b"):
        assert together.expected(home) == alone.expected(home)
    assert together.repeats == alone.repeats
