"""What operators did, each a row: who, what, why; and their jobs. All times are µs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

What = Literal[
    "open gate",
    "close gate",
    "redeliver",
    "close",
    "forget",
    "rewind",
    "start job",
    "stop job",
    "resume job",
]
LONGEST_WHY: Final = 500
"""Characters of a reason."""


class Act(msgspec.Struct, frozen=True):
    """Who acts, and why: the key's name at the API or the console, the user of a command."""

    who: str
    why: str = ""


class Action(msgspec.Struct, frozen=True):
    """One row. `about`: the activity or the job; `appid` empty: of no single app. `said`: what came of it."""

    who: str
    what: What
    appid: str = ""
    about: str = ""
    why: str = ""
    said: str = ""
    at: int = 0


def action(act: Act, what: What, *, appid: str = "", about: str = "", said: str = "") -> Action:
    """The row of an act."""
    return Action(act.who, what, appid, about, act.why, said)


class OperatorsTx(Protocol):
    """Part of `services.store.ports.Tx`."""

    async def note(self, actions: Sequence[Action]) -> None:
        """Keep what was done, at the database's now."""
        ...


class OperatorsStore(Protocol):
    """Part of `services.store.ports.Store`."""

    async def actions(self, limit: int, appids: Collection[str] | None = None) -> list[Action]:
        """The latest, newest first; of these apps alone, if given."""
        ...


Kind = Literal["redeliver", "close"]
RUNNING: Final = "running"
STOPPED: Final = "stopped"
DONE: Final = "done"
NO_BOUND: Final = 1 << 62


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which activities a job is about: of these apps; in this room; opened in this time (µs); given up with
    this verdict (`redeliver` alone)."""

    appids: tuple[str, ...]
    room: str = ""
    opened_after: int = 0
    opened_before: int = NO_BOUND
    verdict: str = ""


class Job(msgspec.Struct):
    """Something done to everything that matches, a page at a time. `estimate`: how many matched at the start;
    `done`, `refused`: what came of those looked at up to `place`, an activity_id."""

    id: str
    kind: Kind
    filter: Filter
    who: str
    why: str
    state: str = RUNNING
    estimate: int = 0
    done: int = 0
    refused: int = 0
    place: str = ""
    begun_at: int = 0
    moved_at: int = 0


class Surveyed(NamedTuple):
    """Some activities in order of activity_id. `last`: the one to go on after; None: there are no more."""

    matching: tuple[tuple[str, str], ...]
    last: str | None


class JobsTx(Protocol):
    """Part of `services.store.ports.Tx`. A job is locked before any activity."""

    async def begin_job(self, job: Job) -> None:
        """Keep it, begun at the database's now."""
        ...

    async def lock_job(self, name: str) -> Job | None:
        """Lock it; None: there is no such job."""
        ...

    async def move_job(self, job: Job) -> None:
        """Write its state, counts and place, moved at the database's now."""
        ...


class JobsStore(Protocol):
    """Part of `services.store.ports.Store`."""

    async def jobs(self, limit: int) -> list[Job]:
        """The latest, newest first."""
        ...

    async def survey(self, kind: Kind, wanted: Filter, after: str, limit: int) -> Surveyed:
        """The next `limit` activities after this one, and which of them match, with their apps: for
        `redeliver` those that are given up, or of which somebody is skipped and no end was called, while
        their id lives; for `close` those that are open."""
        ...
