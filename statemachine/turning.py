"""An activity's state is turned by its table, and told: what events and timers have in common."""

from __future__ import annotations

import hashlib
from typing import cast

from contracts.changes import ActivityChanged, ChangeReason, EndReason, State
from contracts.events import Event
from statemachine import timers
from statemachine.model import Activity, Aggregate, Rules
from statemachine.states import ACTIVITY, move

DEADLINE_CLAMPED = "deadline_after_expiry"
"""Warning: the deadline lies beyond the id's life; the activity will end as `expired`."""


def event_key(event: Event) -> str:
    """A short digest of `(source, id)`: what makes the ids of changes caused by it deterministic."""
    return hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()[:24]


def end(aggregate: Aggregate, reason: EndReason, at: int, now: int) -> None:
    """It ended at this moment, as is known now."""
    activity = aggregate.activity
    activity.reason, activity.ended_at, activity.end_known_at = reason, at, now
    turn(aggregate, "end", reason)


def turn(aggregate: Aggregate, trigger: str, reason: ChangeReason, warnings: list[str] | None = None) -> None:
    """By a row of the table; each is a revision."""
    previous = cast("State", aggregate.activity.state)
    move(ACTIVITY, aggregate.activity, trigger)
    aggregate.activity.revision += 1
    tell_changed(aggregate, previous, reason, warnings or [])


def tell_changed(
    aggregate: Aggregate, previous: State | None, reason: ChangeReason, warnings: list[str]
) -> None:
    """What it is now."""
    activity = aggregate.activity
    aggregate.publish(
        f"changed:{activity.revision}",
        ActivityChanged(
            state=cast("State", activity.state),
            previous=previous,
            reason=reason,
            revision=activity.revision,
            done=activity.done,
            participants=activity.participants if activity.choose == "listed" else None,
            warnings=tuple(warnings),
        ),
    )


def clamp_warning(activity: Activity, rules: Rules) -> list[str]:
    """That its deadline is later than its id allows."""
    return [DEADLINE_CLAMPED] if timers.is_clamped(activity, rules) else []
