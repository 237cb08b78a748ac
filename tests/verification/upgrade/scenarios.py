"""What is recorded: one small history for each rule of design.md §3, and many that a seed once made."""

from __future__ import annotations

from typing import Any

from tests.verification.upgrade.history import History, Step, read_histories, wire

HOUR = 3600


def opened(id_: str = "o", **changed: Any) -> dict[str, Any]:
    """An opening for ann and bob: deadline after an hour, a notice of ten minutes, two hours to live."""
    envelope = {name: changed.pop(name) for name in ("time", "home", "source") if name in changed}
    data = {
        "appid": "wx1",
        "template": "complete",
        "expires_at": 2 * HOUR,
        "participants": ["ann", "bob"],
        "deadline": HOUR,
        "notice": 600,
        **changed,
    }
    data = {name: value for name, value in data.items() if value is not ...}
    return wire("activity.opened", data, id_, **envelope)


def done(*members: str, id_: str = "", **envelope: Any) -> dict[str, Any]:
    """A completion."""
    return wire(
        "participant.completed", {"members": list(members)}, id_ or "c-" + "-".join(members), **envelope
    )


def added(*members: str, **envelope: Any) -> dict[str, Any]:
    """More who are listed."""
    return wire("participant.added", {"members": list(members)}, "a-" + "-".join(members), **envelope)


def moved(id_: str, *, time: float = 0, **data: Any) -> dict[str, Any]:
    """A reschedule."""
    return wire("activity.rescheduled", data, id_, time=time)


def closed(**envelope: Any) -> dict[str, Any]:
    """The organiser closes it."""
    return wire("activity.closed", {}, "x", **envelope)


RULES: dict[str, list[Step]] = {
    "near from the very moment": [(0, opened()), (HOUR - 601, "tick"), (HOUR - 600, "tick")],
    "near already at opening": [(HOUR - 300, opened())],
    "no deadline, no near": [(0, opened(deadline=...)), (HOUR, "tick")],
    "a null deadline is none": [(0, opened(deadline=None)), (HOUR, "tick")],
    "ends at the deadline": [(0, opened()), (HOUR - 1, "tick"), (HOUR, "tick")],
    "near and end at once": [(0, opened()), (HOUR + 5, "tick")],
    "ends a margin before expiry": [
        (0, opened(deadline=...)),
        (2 * HOUR - 61, "tick"),
        (2 * HOUR - 60, "tick"),
    ],
    "a deadline beyond expiry is clamped": [(0, opened(deadline=3 * HOUR)), (2 * HOUR - 60, "tick")],
    "a deadline at the margin is a deadline": [(0, opened(deadline=2 * HOUR - 60)), (2 * HOUR, "tick")],
    "reopened by a later deadline": [
        (0, opened()),
        (HOUR - 10, "tick"),
        (HOUR - 9, moved("m", deadline=HOUR + 900)),
    ],
    "reopened by a shorter notice": [
        *((0, opened()), (HOUR - 400, "tick")),
        (HOUR - 399, moved("m", deadline=HOUR, notice=60)),
    ],
    "a reschedule keeps the notice": [
        *((0, opened()), (1, moved("m", deadline=1200)), (599, "tick"), (600, "tick")),
    ],
    "a null notice keeps it too": [(0, opened()), (1, moved("m", deadline=1200, notice=None)), (600, "tick")],
    "rescheduled to no deadline": [(0, opened()), (HOUR - 9, "tick"), (HOUR - 8, moved("m", deadline=None))],
    "rescheduled into the past": [(0, opened()), (HOUR / 2, moved("m", deadline=60)), (HOUR / 2 + 1, "tick")],
    "an older reschedule is superseded": [
        *((0, opened()), (10, moved("m1", time=9, deadline=1800)), (11, moved("m2", time=8, deadline=HOUR))),
        (12, moved("m3", time=9, deadline=1900)),
    ],
    "a time in the future counts as now": [
        *(
            (0, opened()),
            (10, moved("m1", time=5000, deadline=1800)),
            (11, moved("m2", time=11, deadline=1700)),
        ),
    ],
    "what is due fires before the event": [(0, opened()), (HOUR + 1, moved("m", deadline=2 * HOUR - 90))],
    "closed": [(0, opened()), (5, done("ann")), (10, closed(time=9))],
    "complete when all listed are": [
        *((0, opened(close_when_complete=True)), (5, done("ann")), (9, done("bob", time=8))),
    ],
    "not complete while one is added": [
        *(
            (0, opened(close_when_complete=True)),
            (1, added("cat")),
            (5, done("ann", "bob")),
            (9, done("cat")),
        ),
    ],
    "complete only by a completion": [(0, opened(close_when_complete=True, participants=[])), (1, "tick")],
    "nobody completes everyone": [
        *((0, opened(choose="everyone", close_when_complete=True)), (1, done("ann", "bob", "zoe"))),
    ],
    "dead by word of WeChat": [(0, opened()), (5, done("ann")), (6, "dead:a"), (7, done("bob"))],
    "dead after its end": [(0, opened()), (HOUR + 1, "dead:a")],
    "parked events come in their order": [
        *((0, done("ann")), (1, moved("m", deadline=1800)), (2, done("zoe")), (3, opened())),
    ],
    "parked events of an id that is dead": [(0, done("ann")), (2 * HOUR, opened())],
    "parked, opened after the deadline": [(0, done("ann")), (HOUR + 1, opened())],
    "parked, then closed before it was opened": [(0, closed()), (1, done("ann")), (2, opened())],
    "late is not after the end": [
        *((0, opened()), (HOUR + 1, done("ann", time=HOUR)), (HOUR + 2, done("bob", time=HOUR + 1))),
    ],
    "late after it was closed": [
        *((0, opened()), (10, closed(time=10)), (11, done("ann", time=10)), (12, done("bob", time=11))),
    ],
    "late after it was complete": [
        *((0, opened(close_when_complete=True)), (9, done("ann", "bob", time=8))),
        (10, done("ann", "zoe", id_="again", time=8)),
    ],
    "not listed": [(0, opened()), (1, done("zoe"))],
    "not listed, yet the others count": [(0, opened()), (1, done("ann", "zoe"))],
    "listed by being added": [(0, opened()), (1, added("zoe")), (2, done("zoe"))],
    "added twice": [(0, opened()), (1, added("zoe")), (2, added("zoe", "ann"))],
    "added to everyone": [(0, opened(choose="everyone", participants=[])), (1, added("zoe"))],
    "done is final": [(0, opened()), (1, done("ann")), (2, done("ann", id_="again"))],
    "done and refused in one event": [
        *((0, opened()), (1, done("ann")), (HOUR + 1, done("ann", "bob", "zoe", time=HOUR + 1))),
    ],
    "everything after the end is refused": [
        *((0, opened()), (5, closed(time=5)), (6, closed(time=6, source="/t")), (7, added("zoe"))),
        *((8, moved("m", deadline=HOUR)), (9, opened("o2", title="another"))),
    ],
    "the same event twice": [(0, opened()), (1, done("ann")), (2, done("ann")), (3, opened())],
    "the same id with other content": [(0, opened()), (1, done("ann", id_="c")), (2, done("bob", id_="c"))],
    "the same id from another source": [
        *((0, opened()), (1, done("ann", id_="c")), (2, done("bob", id_="c", source="/t"))),
    ],
    "opened twice, the same": [(0, opened()), (1, opened("o2", participants=["bob", "ann"]))],
    "opened twice, different": [(0, opened()), (1, opened("o2", notice=601))],
    "opened twice, with the defaults written out": [
        *(
            (0, opened(notice=...)),
            (1, opened("o2", notice=3600, title="", choose="listed", version="release")),
        ),
    ],
    "opened twice after the end": [(0, opened()), (1, closed(time=1)), (2, opened("o2"))],
    "two activities do not meet": [
        *((0, opened()), (1, opened("o2", home="b", template="participate")), (2, done("ann", home="b"))),
        (3, closed(home="b", time=3)),
    ],
    "notice longer than its life": [(0, opened(notice=7200)), (1, done("ann"))],
    "no notice at all": [(0, opened(notice=0)), (HOUR - 1, "tick"), (HOUR, "tick")],
}
"""Name → steps; `...` leaves a field out."""


def everything() -> dict[str, list[History]]:
    """File → its histories, to be played; those that a seed made once stay as they were recorded."""
    return {
        "rules": [History(name, steps) for name, steps in RULES.items()],
        "made": read_histories("made"),
    }
