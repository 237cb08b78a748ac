"""The two tables. Nothing else in livecard moves a state (design.md §3).

Both machines are shared, module-level and stateless: the state lives on the small object that a
trigger is given, so one transition costs microseconds and a batch needs no machine of its own.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from transitions import Machine

logging.getLogger("transitions").setLevel(logging.WARNING)  # INFO costs more than the transition

OPEN: Final = "open"
NEARING: Final = "nearing"
ENDED: Final = "ended"
UNOPENED: Final = ""
"""Not a state of the machine: a row that was made on first sight, before its `opened` came."""

PENDING: Final = "pending"
DONE: Final = "done"

TARGET_STATE: Final = {OPEN: 1, NEARING: 2, ENDED: 3}
"""WeChat's number for each state (wechat-api.md §1)."""

_END_REACHED: Final = (
    "the end is reached, closed by event, complete, continued by another card, or the id expires"
)

ACTIVITY_TABLE: Final = (
    {
        "trigger": "near",
        "source": OPEN,
        "dest": NEARING,
        "when": "now ≥ end − notice; only if a deadline was given",
    },
    {
        "trigger": "reopen",
        "source": NEARING,
        "dest": OPEN,
        "when": "rescheduled so that now < end − notice",
    },
    {"trigger": "end", "source": OPEN, "dest": ENDED, "when": _END_REACHED},
    {"trigger": "end", "source": NEARING, "dest": ENDED, "when": _END_REACHED},
)
"""`when` is for people: the diagrams in docs/ are drawn from these rows."""
PARTICIPANT_TABLE: Final = (
    {"trigger": "complete", "source": PENDING, "dest": DONE, "when": "a completion names the member"},
)


def _machine(states: tuple[str, ...], table: tuple[dict[str, str], ...]) -> Machine:
    rows = [{name: row[name] for name in ("trigger", "source", "dest")} for row in table]
    return Machine(
        model=None, states=list(states), transitions=rows, initial=states[0], auto_transitions=False
    )


ACTIVITY: Final = _machine((OPEN, NEARING, ENDED), ACTIVITY_TABLE)
PARTICIPANT: Final = _machine((PENDING, DONE), PARTICIPANT_TABLE)


class Stateful(Protocol):
    """Anything with a `state` of one of the machines."""

    state: str


class IllegalTransition(Exception):
    """A trigger that the table does not allow in this state; the state has not moved."""


def move(machine: Machine, slot: Stateful, trigger: str) -> None:
    """Move `slot` as the machine's own `trigger` would, changing `slot.state` by the table.

    The row is looked up rather than fired: our rows have neither conditions nor callbacks, for which
    the machine would look in six places. Raises `IllegalTransition`, with the state unchanged, where
    the table has no such row; an unopened row is in no state of the machine, so nothing moves it.
    """
    event = machine.events.get(trigger)
    rows = event.transitions.get(slot.state) if event is not None else None
    if not rows or rows[0].dest is None:
        raise IllegalTransition(f"{trigger} is not possible in state {slot.state!r}")
    slot.state = rows[0].dest
