"""The columns of activities, their cards and gates, as the statements read and write them."""

from __future__ import annotations

from typing import Final

from statemachine.gate import DAY, LONGEST
from statemachine.waits import CLOCK_STEP

ACTIVITY_COLUMNS: Final = (
    "activity_id, state, reason, choose, close_when_complete, deadline, notice, expires_at, ended_at, "
    "end_known_at, rescheduled_at, participants, done, revision, opened_digest, expiry_warned, continued_by"
)
"""In the order of `statemachine.model.Activity`'s fields."""

DELIVERY: Final = {
    "settled": ("bigint", "settled"),
    "shown": ("bigint", "shown"),
    "may_show": ("bigint", "{greatest}(may_show, shown, reached)"),
    "cannot_lower": ("boolean", "cannot_lower"),
    "throttled_until": ("bigint", "look_at"),
    "retry_at": ("bigint", "retry_at"),
    "attempts": ("bigint", "attempts"),
    "code_attempts": ("bigint", "code_attempts"),
    "fence": ("bigint", "fence"),
    "lease_until": ("bigint", "lease_until"),
    "lease_by": ("text", "lease_by"),
    "doubt_at": ("bigint", "suspect_at"),
    "verdict": ("text", "verdict"),
    "list_limit": ("bigint", "list_limit"),
    "singles": ("bigint", "singles"),
    "succeeded": ("boolean", "succeeded"),
    "end_by": ("bigint", "end_by"),
    "behind_since": ("bigint", "behind_since"),
    "progress_calls": ("bigint", "progress_calls"),
    "progress_members": ("text", "progress_members"),
}
"""The delivery's fields of `statemachine.card.Card`, in order: the type, and how the column is read.

`look_at` and `suspect_at` still have the names of the release before, which reads and writes them too; of
`reached`, which it raises alone, and `may_show` the greater one counts.
"""
_READ_DELIVERY: Final = ", ".join(read for _, read in DELIVERY.values())
CARD_COLUMNS: Final = f"activity_id, appid, template, version, state, revision, expires_at, {_READ_DELIVERY}"
"""In the order of `statemachine.card.Card`'s fields; progress_members is a JSON list."""
LOCKED_COLUMNS: Final = f"{ACTIVITY_COLUMNS}, appid, template, version, {_READ_DELIVERY}"
"""An activity and its card."""

_COLUMN: Final = {"may_show": "may_show", "throttled_until": "look_at", "doubt_at": "suspect_at"}
_FOR_THE_RELEASE_BEFORE: Final = """
          reached = CASE WHEN r.may_show < 2 THEN 1 ELSE 2 END,
          final = (r.verdict IN ('expired', 'continued')),
          settled_as = CASE r.verdict WHEN '' THEN 'delivered' WHEN 'expired' THEN 'expired' ELSE 'dead' END,
          failing_since = CASE WHEN r.may_show = 3 AND r.shown < 3 THEN 0 END"""
"""What older builds need: of these columns only `reached` is read here. Migration 0006 says who reads which,
and when they go."""
WRITE_DELIVERY: Final = (
    ", ".join(f"{_COLUMN.get(name, name)} = r.{name}" for name in DELIVERY)
    + ", attempt_at = r.attempt_at, ending = r.ending,"
    + _FOR_THE_RELEASE_BEFORE
)
DELIVERY_ROWS: Final = (
    ", ".join(f"{name} {kind}" for name, (kind, _) in DELIVERY.items())
    + ", attempt_at bigint, ending boolean"
)

GATE_COLUMNS: Final = (
    "appid, closed_until, closed_at, reason, errcode, errmsg, generation, wait, saving_until"
)
"""In the order of `statemachine.gate.Gate`'s fields."""
GATES: Final = f"SELECT {GATE_COLUMNS} FROM gates"

_LONGEST_CLOSING: Final = " ".join(
    (
        "CASE g.reason",
        *(f"WHEN '{reason}' THEN {wait + CLOCK_STEP}" for reason, wait in LONGEST.items()),
        "ELSE :closing END",
    )
)
CLOSED: Final = f"(g.closed_until > {{now}} AND g.closed_until <= {{now}} + {_LONGEST_CLOSING})"
"""A gate, as `statemachine.gate.as_believed` has it; `:closing` is `DeliveryRules.longest_closing` and a step
of the clock."""

SAVES: Final = f"(g.saving_until > {{now}} AND g.saving_until <= {{now}} + {DAY + CLOCK_STEP})"
"""A gate whose app keeps what is left of its quota for ends, as `statemachine.gate.saves` has it."""

OWED: Final = "state = 'done' AND NOT late AND delivered = 0"
