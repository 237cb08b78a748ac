"""The two tables. Nothing else in livecard moves a state (design.md §3).

Both machines are shared, module-level and stateless: the state lives on the small object that a
trigger is given, so one transition costs microseconds and a batch needs no machine of its own.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from transitions import Machine, MachineError

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

ACTIVITY_TABLE: Final = (
    {"trigger": "near", "source": OPEN, "dest": NEARING},
    {"trigger": "reopen", "source": NEARING, "dest": OPEN},
    {"trigger": "end", "source": OPEN, "dest": ENDED},
    {"trigger": "end", "source": NEARING, "dest": ENDED},
)
PARTICIPANT_TABLE: Final = ({"trigger": "complete", "source": PENDING, "dest": DONE},)

ACTIVITY: Final = Machine(
    model=None,
    states=[OPEN, NEARING, ENDED],
    transitions=[dict(row) for row in ACTIVITY_TABLE],
    initial=OPEN,
    auto_transitions=False,
)
PARTICIPANT: Final = Machine(
    model=None,
    states=[PENDING, DONE],
    transitions=[dict(row) for row in PARTICIPANT_TABLE],
    initial=PENDING,
    auto_transitions=False,
)


class Stateful(Protocol):
    """Anything with a `state` of one of the machines."""

    state: str


class IllegalTransition(Exception):
    """A trigger that the table does not allow in this state; the state has not moved."""


def move(machine: Machine, slot: Stateful, trigger: str) -> None:
    """Fire `trigger` on `slot`, changing `slot.state` by the table.

    Raises `IllegalTransition`, with the state unchanged, where the table has no such row.
    """
    try:
        machine.events[trigger].trigger(slot)
    except MachineError as error:
        raise IllegalTransition(f"{trigger} is not possible in state {slot.state!r}") from error
