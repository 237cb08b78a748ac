"""The reference model, fed with the topic's log: what should be true of an activity in the end."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from contracts.changes import ActivityChanged, Change, ParticipantDone
from contracts.events import Completed, Opened, Rescheduled
from contracts.times import SECOND
from tests.verification.chaos.record import Arrival, Record
from tests.verification.judging.judge import OF_STATES
from tests.verification.model.facts import Expected
from tests.verification.model.reference import Reference

LONGEST_TRANSACTION = 30 * SECOND
"""From the admission of an event to the clock that decides about it: waits for locks lie in between."""

MOST_TRIES = 5_000


def first_arrivals(record: Record, name: str) -> list[Arrival]:
    """The first record of each event, in order of arrival: a partition's log is the order.

    Of events in several partitions nobody outside knows the order, so that of the changes is taken, and
    of two openings in one batch that which was applied.
    """
    log = record.arrivals[name]
    if len({each.partition for each in log}) > 1:
        told, chosen = _told_order(record, name), _chosen_partition(record, log)

        def order(each: Arrival) -> tuple[int, int, bool, int]:
            second = isinstance(each.event.data, Opened) and each.partition != chosen
            return _told(told, each), _admitted(record, each), second, each.offset

        log = sorted(log, key=order)
    else:
        log = sorted(log, key=lambda each: each.offset)
    firsts: dict[tuple[str, str], Arrival] = {}
    for each in log:
        firsts.setdefault((each.event.source, each.event.id), each)
    return list(firsts.values())


def _chosen_partition(record: Record, log: Sequence[Arrival]) -> int | None:
    """Where the opening that was applied came from: of the partitions that have it one where no other opening
    is before it, if there is one."""
    openings = sorted(
        (each for each in log if isinstance(each.event.data, Opened)), key=lambda each: each.offset
    )
    first: dict[int, Arrival] = {}
    for each in openings:
        first.setdefault(each.partition, each)
    for each in (*first.values(), *openings):
        taken = record.taken.get((each.event.source, each.event.id))
        if taken is not None and taken.outcome == "applied":
            return each.partition
    return None


def _told_order(record: Record, name: str) -> dict[str, int]:
    """When each member was first told as done; "" is the opening."""
    order: dict[str, int] = {}
    for place, each in enumerate(record.changes[name]):
        data = each.change.data
        if isinstance(data, ParticipantDone):
            for member in data.members:
                order.setdefault(member, place)
        elif isinstance(data, ActivityChanged) and data.previous is None:
            order.setdefault("", place)
    return order


def _told(order: dict[str, int], arrival: Arrival) -> int:
    data = arrival.event.data
    members = data.members if isinstance(data, Completed) else ("",)
    return min(order.get(member, len(order) + 1_000) for member in members)


def _admitted(record: Record, arrival: Arrival) -> int:
    taken = record.taken.get((arrival.event.source, arrival.event.id))
    return taken.at if taken else arrival.at


def follow(record: Record, name: str, firsts: list[Arrival], published: list[Change]) -> Expected:
    """Feed the reference at the moments of admission.

    The store decides by a clock it reads after the locks, so a deadline may lie between the admission and
    that moment. Where the simple account differs from what was published, each event is fed at the first
    moment, of its admission, those that its changes name and those of its timers, at which the reference
    tells what was told.
    """
    reference = Reference(record.margin)
    for each in firsts:
        reference.feed(each.event, _admitted(record, each))
    reference.fire(record.end)
    expected = reference.expected(name)
    told = [(each.time, each.data) for each in published if isinstance(each.data, OF_STATES)]
    if expected.published == tuple(data for _, data in told):
        return expected
    return _follow_closely(record, name, firsts, told) or expected


def _follow_closely(
    record: Record, name: str, firsts: list[Arrival], told: Sequence[tuple[int, object]]
) -> Expected | None:
    """The same with the moments that were published; None when no moments explain it."""
    wanted = [data for _, data in told]
    timers = _timers(firsts)
    tries = 0

    def follow_on(reference: Reference, place: int) -> Reference | None:
        """Feed the events from `place` on, going back to other moments where what follows does not fit."""
        nonlocal tries
        if place == len(firsts):
            reference.fire(record.end)
            return reference if list(reference.expected(name).published) == wanted else None
        each = firsts[place]
        taken = record.taken.get((each.event.source, each.event.id))
        for moment in _moments(record, each, told, timers):
            tries += 1
            if tries > MOST_TRIES:
                return None
            trial = copy.deepcopy(reference)
            trial.feed(each.event, moment)
            expected = trial.expected(name)
            outcome = expected.outcomes[each.event.source, each.event.id]
            fits = taken is None or outcome[0] == "parked" or (taken.outcome, taken.reason) == outcome
            if fits and list(expected.published) == wanted[: len(expected.published)]:
                found = follow_on(trial, place + 1)
                if found is not None:
                    return found
        return None

    reference = follow_on(Reference(record.margin), 0)
    return reference.expected(name) if reference else None


def _timers(firsts: Sequence[Arrival]) -> set[int]:
    """When a timer of the activity may have been due: after it an event may come to something else."""
    plans = [each.event.data for each in firsts if isinstance(each.event.data, Opened | Rescheduled)]
    notices = {plan.notice * SECOND for plan in plans if plan.notice is not None}
    deadlines = {plan.deadline for plan in plans if plan.deadline is not None}
    return deadlines | {deadline - notice for deadline in deadlines for notice in notices}


def _moments(
    record: Record, arrival: Arrival, told: Sequence[tuple[int, object]], timers: set[int]
) -> list[int]:
    """When the store may have decided about an event: as it was admitted, when its changes say, or when a
    timer that nobody told of was due."""
    admitted = _admitted(record, arrival)
    times = {at for at, _ in told} | timers
    return sorted({admitted, *(at for at in times if admitted <= at <= admitted + LONGEST_TRANSACTION)})
