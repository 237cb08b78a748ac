"""When an activity moves by itself: pure functions of its facts (design.md §3)."""

from __future__ import annotations

from contracts.changes import EndReason
from contracts.events import Opened
from statemachine.card import CLOSED, Card, phase
from statemachine.model import Activity, Rules
from statemachine.states import ENDED, NEARING, OPEN


def end_at(activity: Activity, rules: Rules) -> int:
    """The effective end, µs: the deadline, or the margin before expiry when that comes first."""
    limit = activity.expires_at - rules.margin
    return limit if activity.deadline is None else min(activity.deadline, limit)


def near_at(activity: Activity, rules: Rules) -> int | None:
    """When the end is near, µs; None without a deadline."""
    return None if activity.deadline is None else end_at(activity, rules) - activity.notice


def expiring_at(activity: Activity, rules: Rules) -> int | None:
    """When it is to be told that the id is about to die, µs; None: never, or it was."""
    over = activity.expiry_warned or not rules.expiring
    return None if over else activity.expires_at - rules.expiring


def is_clamped(activity: Activity | Opened, rules: Rules) -> bool:
    """Whether the deadline given lies beyond what the id lives for, so that expiry ends it."""
    return activity.deadline is not None and activity.deadline > activity.expires_at - rules.margin


def end_reason(activity: Activity, rules: Rules) -> EndReason:
    """`deadline`, or `expired` when the id's death decides."""
    return "expired" if activity.deadline is None or is_clamped(activity, rules) else "deadline"


def due_at(activity: Activity, card: Card, rules: Rules) -> int | None:
    """The next moment at which the clock has something to do, µs: a timer fires, it is told that the id is
    about to die, or the id of a card that is not closed yet dies (while a dispatcher calls for it: its lease
    ends); None when nothing will be."""
    if activity.state in (OPEN, NEARING):
        moments = [end_at(activity, rules), expiring_at(activity, rules)]
        if activity.state == OPEN:
            moments.append(near_at(activity, rules))
        return min(moment for moment in moments if moment is not None)
    if activity.state == ENDED and phase(card) is not CLOSED:
        return max(activity.expires_at, card.lease_until)
    return None
