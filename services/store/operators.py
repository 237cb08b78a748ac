"""What operators did, each a row: who, what, why. All times are µs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, Protocol

import msgspec

What = Literal["open gate", "close gate", "redeliver", "close", "forget", "start job", "stop job"]
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
