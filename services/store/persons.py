"""One person, wherever rows name him: who he is, where, and the primitives that erase him.

`names` are the openids and group_openids of one person. All times are µs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from services.store.rows import OutboxRow, ParkedRow


class Alias(NamedTuple):
    """What a binding says: this openid is this group_openid; empty: not bound yet."""

    openid: str
    group_openid: str


class Tally(NamedTuple):
    """An activity without members that it had: its counts, and who is left of an unfinished plan."""

    activity_id: str
    participants: int
    done: int
    progress_members: tuple[str, ...]


class PlacedParked(NamedTuple):
    """A parked event and its place in the order of arrival."""

    place: int
    row: ParkedRow


class PersonsTx(Protocol):
    """Part of `services.store.ports.Tx`. The activities are locked."""

    async def forget_members(
        self, activity_ids: Sequence[str], names: Collection[str]
    ) -> list[tuple[str, str]]:
        """Delete these members; (activity_id, state) of each. The caller corrects the counts."""
        ...

    async def tally(self, tallies: Sequence[Tally]) -> None:
        """Write the counts of activities."""
        ...

    async def forget_publishers(self, activity_ids: Sequence[str], names: Collection[str]) -> int:
        """These activities have no publisher any more, where it is one of these; how many had."""
        ...

    async def rewrite_parked(self, row: ParkedRow) -> None:
        """Keep this record instead of the one that came."""
        ...

    async def rewrite_outbox(self, seq: int, body: str) -> None:
        """Publish this instead, unless it is published already."""
        ...

    async def drop_outbox(self, seq: int) -> None:
        """Publish it no more."""
        ...

    async def forget_bindings(self, names: Collection[str]) -> int:
        """Delete their bindings, locking them."""
        ...

    async def forget_unbound(self, names: Collection[str]) -> int:
        """Delete what waits for their bindings, which are locked; counts it as dropped."""
        ...

    async def forget_sessions(self, names: Collection[str]) -> int:
        """Delete their logins."""
        ...

    async def forget_requests(self, names: Collection[str]) -> int:
        """Delete kept answers of the gateway that name them."""
        ...

    async def forget_answers(
        self, after: int, until: int, names: Collection[str], without: Callable[[str], str]
    ) -> int:
        """Rewrite what WeChat answered to the calls in these places of the log, where it has one of these in
        it; how many became another text."""
        ...

    async def forget_texts(self, names: Collection[str], without: Callable[[str], str]) -> int:
        """The same with the reasons of operators and of closed gates."""
        ...


class PersonsStore(Protocol):
    """Part of `services.store.ports.Store`: for an operator, now and then. Large tables are read by
    pages, so that each statement is soon over."""

    async def known_as(self, names: Collection[str]) -> list[Alias]:
        """What bindings say of these."""
        ...

    async def activities_with(
        self, names: Collection[str], after: str, limit: int
    ) -> tuple[list[str], str | None]:
        """Among the next `limit` activities after this one those of which they are members, which they
        published, or whose unfinished plan still has to tell of them; and the last one, None at the end."""
        ...

    async def answers_until(self, after: int, limit: int) -> int | None:
        """The place of the last of the next `limit` calls in the log; None: there are no more."""
        ...

    async def parked_after(self, place: int, limit: int) -> list[PlacedParked]:
        """Parked events in order of arrival, from there on."""
        ...

    async def outbox_after(self, seq: int, limit: int) -> list[OutboxRow]:
        """What waits to be published, of every shard, by seq, from there on."""
        ...
