"""What follows from a step of the delivery machine, as rows to write."""

from __future__ import annotations

from collections.abc import Iterable

from services.store.rows import CONFIRMED, OWED, SKIPPED, MemberMark, Writes
from services.transactions.outgoing import card_rows
from statemachine.step import ALL_SKIPPED, Step


def follow(out: Writes, step: Step, now: int, skipped: Iterable[str] = ()) -> None:
    """The step's members, changes and counters; not its card. `skipped`: who was skipped before."""
    name = step.card.activity_id
    again = {*skipped, *step.skipped} if step.owed_again == ALL_SKIPPED else set(step.owed_again)
    for members, delivered, doubtful in (
        (step.confirmed, CONFIRMED, False),
        (set(step.skipped) - again, SKIPPED, False),
        (step.in_doubt, OWED, True),
        (again, OWED, False),
    ):
        if members:
            out.marks.extend(MemberMark(name, each, delivered, doubtful) for each in sorted(members))
    for key, data in step.published:
        out.outbox.extend(card_rows(name, key, now, data))
    for counter, by in step.counters.items():
        out.count(counter, by)
