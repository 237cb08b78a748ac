"""What the console reads beside the API's pages: how each app stands, calls by the minute, what came last to
one activity. All times are µs. Every read is bounded, however much there is: counts stop at a limit.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from statemachine.gate import Gate


class Standing(NamedTuple):
    """An app's gate and its cards: how many are not in sync, up to the limit; and since when the oldest of
    those is undelivered, None where none is."""

    gate: Gate
    not_in_sync: int
    undelivered_since: int | None


class CallCount(NamedTuple):
    """Calls of an app in one stretch of time: how many, how many WeChat confirmed, the longest (µs)."""

    appid: str
    calls: int
    confirmed: int
    longest: int


class DoneMember(NamedTuple):
    """A member who is done, and when it was taken in."""

    group_openid: str
    done_at: int
    late: bool


class WaitingEvent(NamedTuple):
    """An event that is parked until its activity opens."""

    source: str
    id: str
    parked_at: int


class Unpublished(NamedTuple):
    """A message in the outbox: its topic's role, the CloudEvent's id, since when it waits."""

    topic: str
    id: str
    created_at: int


class Lately(msgspec.Struct, frozen=True):
    """What came last to one activity; each list newest first."""

    done: tuple[DoneMember, ...] = ()
    parked: tuple[WaitingEvent, ...] = ()
    outbox: tuple[Unpublished, ...] = ()


class PulseStore(Protocol):
    """A store's reads for the console."""

    async def standings(self, limit: int) -> tuple[list[Standing], int]:
        """Every app that ever opened an activity, by appid, and the database's now. Of each app the `limit`
        cards that are longest not in sync are looked at."""
        ...

    async def calls_between(self, since: int, until: int, limit: int) -> list[CallCount]:
        """The calls that were logged in this time, by appid; no more than the first `limit` are counted."""
        ...

    async def counters(self) -> dict[str, int]:
        """The ledger's counters, summed over slots; nothing is counted from rows."""
        ...

    async def lately(self, activity_id: str, limit: int) -> Lately:
        """What came last, up to `limit` of each kind, in one snapshot; of the outbox only as far as it is
        near the head of its shard."""
        ...
