"""The ledger: every distinct event has one outcome, every revision one fate (design.md §7)."""

from __future__ import annotations

from typing import Final

import msgspec

from services.store.ports import Store

EVENT_FATES: Final = ("applied", "duplicate", "late", "refused", "dead", "parked")
REVISION_FATES: Final = ("delivered", "superseded", "expired", "dead")
OPENID_FATES: Final = ("bound", "dropped")
DEAD_LETTERS: Final = "dead."
"""What precedes a reason in the name of the counter of its dead letters: every one that was ever written."""


class Ledger(msgspec.Struct, frozen=True):
    """Totals since the store was made. `problems` is empty when it balances.

    `events` holds `taken`, its fates and `repeats`; `revisions` holds `raised`, its fates and
    `pending` (counted from the rows, not from counters); `calls` holds `made`, `unknown` and
    `members_repeated`. `openids` holds `waited`: how often an event named somebody who was not bound yet; its
    fates, `bound` (an event of its own then) and `dropped` (with the activity); and `waiting`, from the rows.
    """

    events: dict[str, int]
    revisions: dict[str, int]
    calls: dict[str, int]
    problems: tuple[str, ...]
    openids: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether everything is accounted for."""
        return not self.problems

    @property
    def settled(self) -> bool:
        """Balanced, and nothing is on its way any more."""
        return self.balanced and not self.revisions["pending"] and not self.events["parked"]


async def read_ledger(store: Store) -> Ledger:
    """Read the totals and check them, against each other and against the rows.

    The parts are read in one snapshot by the engine, so a live system balances too.
    """
    counters, pending, parked, waiting = await store.totals()
    events = {name: counters.get(f"events.{name}", 0) for name in ("taken", *EVENT_FATES, "repeats")}
    revisions = {name: counters.get(f"revisions.{name}", 0) for name in ("raised", *REVISION_FATES)}
    revisions["pending"] = pending
    calls = {
        "made": counters.get("calls.made", 0),
        "unknown": counters.get("calls.unknown", 0),
        "members_repeated": counters.get("members.repeated", 0),
    }
    openids = {name: counters.get(f"openids.{name}", 0) for name in ("waited", *OPENID_FATES)}
    openids["waiting"] = waiting
    problems = _problems(events, revisions, openids, parked)
    return Ledger(events, revisions, calls, tuple(problems), openids)


def _problems(
    events: dict[str, int], revisions: dict[str, int], openids: dict[str, int], parked: int
) -> list[str]:
    problems = []
    fates = sum(events[name] for name in EVENT_FATES)
    if events["taken"] != fates:
        problems.append(f"{events['taken']} events taken in, but {fates} have an outcome")
    settled = sum(revisions[name] for name in (*REVISION_FATES, "pending"))
    if revisions["raised"] != settled:
        problems.append(f"{revisions['raised']} revisions raised, but {settled} are accounted for")
    if events["parked"] != parked:
        problems.append(f"{events['parked']} events counted as parked, but {parked} rows wait")
    known = sum(openids[name] for name in (*OPENID_FATES, "waiting"))
    if openids["waited"] != known:
        problems.append(f"{openids['waited']} openids waited for a binding, but {known} are accounted for")
    negative = [name for name, value in {**events, **revisions, **openids}.items() if value < 0]
    problems += [f"{name} is negative" for name in negative]
    return problems
