"""Every series of a label set that is known beforehand: it exists from the start.

A series that is born with its first event hides that event: `increase()` sees no change.
"""

from __future__ import annotations

from itertools import product
from typing import Final, get_args

from contracts.events import ADDED, CLOSED, COMPLETED, OPENED, RESCHEDULED
from contracts.records import DeadReason
from contracts.wechat import INVALID_CREDENTIAL, VERDICTS, Verdict
from services.store.rows import CHANGES, DEAD, EVENTS
from statemachine.model import OutcomeKind

Labels = tuple[str, ...]

_TYPES = (OPENED, RESCHEDULED, CLOSED, COMPLETED, ADDED)
_KINDS = [kind for kind in get_args(OutcomeKind) if kind != "dead"]
_ANY_CODE = (Verdict.unknown, Verdict.busy, Verdict.no_token)
"""Verdicts that go by the HTTP status, or by the fetch of a token: with whatever code."""
_NO_CODE = ("none", "other")

FATES: Final = {fate: f"revisions.{fate}" for fate in ("delivered", "superseded", "expired", "dead")}
"""What becomes of a revision, and the ledger's counter of it."""

SERIES: Final[dict[str, list[Labels]]] = {
    "livecard_events": [*product(_TYPES, _KINDS), ("", "dead")],
    "livecard_dead_letters": [(reason,) for reason in get_args(DeadReason)],
    "livecard_revisions": [(fate,) for fate in FATES],
    "livecard_waits": [("store",), ("broker",)],
    "livecard_relayed": [(CHANGES,), (DEAD,), (EVENTS,)],
    "livecard_pruned_rows": [
        (table,)
        for table in (
            *("inbox", "attempts", "requests", "sessions", "members", "activities", "unopened"),
            *("bindings", "unbound"),
        )
    ],
    "livecard_token_fetches": [(verdict.value,) for verdict in Verdict],
    "livecard_activity_ids": [*((verdict.value,) for verdict in Verdict), ("closed",), ("paused",)],
    "livecard_sessions": [*((verdict.value,) for verdict in Verdict), ("refused",), ("paused",)],
    "livecard_streams_ended": [("left",), ("revoked",), ("slow",), ("gap",), ("drained",)],
    "livecard_calls": sorted(
        {
            *((verdict.value, str(code)) for code, verdict in VERDICTS.items()),
            *((verdict.value, str(code)) for verdict, code in product(_ANY_CODE, VERDICTS)),
            *((verdict.value, code) for verdict, code in product(Verdict, _NO_CODE)),
            (Verdict.misconfigured.value, str(INVALID_CREDENTIAL)),
        }
    ),
}
"""Metric → its label values, in the order of its labels."""
OPEN: Final = frozenset({"appid", "partition", "route", "statement"})
"""Labels whose values are known only later, or too many to have all in every process: a metric that has one
begins without series."""
