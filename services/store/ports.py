"""The primitives an engine provides. One call is one statement: arrays in, rows out.

The verbs (apply, fire_due, claim, settle, …) are written once over these, so PostgreSQL, SQLite
and the dict store differ in nothing but how rows are kept. The conformance suite runs on all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from services.runtime.error_text import Explained
from services.store.operators import JobsStore, JobsTx, OperatorsStore, OperatorsTx
from services.store.pages import Pages
from services.store.persons import PersonsStore, PersonsTx
from services.store.pulse import PulseStore
from services.store.requests import RequestsTx
from services.store.rooms import RoomsStore, RoomsTx
from services.store.rows import (
    ANY,
    Admission,
    Attempt,
    Due,
    InboxKey,
    Locked,
    MemberRow,
    OpenedActivity,
    OutboxRow,
    ParkedCount,
    ParkedRow,
    Seen,
    Waiting,
    Writes,
)
from services.store.sessions import SessionsStore, SessionsTx
from statemachine.card import Card
from statemachine.gate import Gate
from statemachine.step import Owed


class StoreUnavailable(Explained):
    """The store failed (gone, timed out, deadlock, lock timeout, not migrated): wait and try again."""


class StoreLost(StoreUnavailable):
    """Whoever answered takes no writes, or is going down: no connection to it is of any use."""


class StoreRejected(Explained):
    """The store refused the data itself: trying the same again is useless."""


class Backlog(msgspec.Struct, frozen=True):
    """For metrics and `ledger`. Ages are µs by the database's clock; counts stop at 10,001."""

    behind: int
    behind_age: int
    parked: int
    parked_age: int
    outbox: int
    outbox_age: int
    due: int
    due_age: int
    unbound: int
    unbound_age: int
    bindings: int
    claimable_age: int
    """How long the oldest card that a dispatcher may take has been due."""


class Tx(JobsTx, OperatorsTx, PersonsTx, RequestsTx, RoomsTx, SessionsTx, Protocol):
    """One transaction. Leaving it normally commits; an exception rolls back.

    Locks: `admit` takes inbox rows in sorted order, `lock` and `lock_cards` activity rows in order
    of activity_id. Raises `StoreUnavailable` or `StoreRejected`, never a library's error.
    """

    async def now(self) -> int:
        """The protocol's now: the database's clock, read at this moment (not the transaction's start)."""
        ...

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> list[Admission]:
        """Insert inbox rows (outcome `applied`) for keys not seen; the answer is parallel to `keys`.

        `keys` holds no repeats. A row seen before whose outcome is `dead` answers `dead` and is
        locked; the caller then writes its new outcome.
        """
        ...

    async def lock(self, activity_ids: Sequence[str]) -> dict[str, Locked]:
        """Lock these activities, making unopened rows for those never seen."""
        ...

    async def lock_due(self, limit: int) -> list[Locked]:
        """Lock activities with due_at ≤ now, skipping locked ones: the earliest of each app, of every app as
        many as its share of `limit`, and one at least where there are more apps."""
        ...

    async def lock_unscheduled(self, limit: int) -> list[Locked]:
        """Lock up to `limit` activities whose card is undelivered or in doubt, and which do not say when it
        wants a dispatcher or, ended, when its id dies: the release before raised, doubted or ended them."""
        ...

    async def lock_cards(self, activity_ids: Sequence[str]) -> list[Card]:
        """Lock the cards of opened activities, in order of activity_id."""
        ...

    async def claim_due(self, rooms: Mapping[str, int], limit: int, narrow: int) -> Due:
        """Lock up to `limit` cards of these apps whose `attempt_at` is reached and whose id lives, skipping
        locked ones: the apps in turn, within each ends first, of each as many as it has room for. Of an app
        with a closed gate none; one that is to be probed: one; after another closing: `narrow` at most. Of
        one that keeps the rest of its quota for ends, ends alone."""
        ...

    async def next_attempt(self, appids: Sequence[str]) -> int | None:
        """µs until the next `attempt_at` that lies ahead, of these apps where the gate is open, or until the
        next of their gates opens; None: neither."""
        ...

    async def members(self, pairs: Sequence[tuple[str, str]]) -> list[MemberRow]:
        """The members named by (activity_id, group_openid), those that exist."""
        ...

    async def all_members(self, activity_ids: Sequence[str]) -> list[MemberRow]:
        """Every member of these activities, in any order."""
        ...

    async def owed(self, activity_ids: Sequence[str]) -> dict[str, list[Owed]]:
        """Per activity its members done, not late and not yet told to WeChat, oldest first
        (by done_at, group_openid)."""
        ...

    async def skipped(self, activity_ids: Sequence[str]) -> dict[str, list[str]]:
        """Per activity the members with delivered = SKIPPED."""
        ...

    async def waiting(
        self, activity_ids: Sequence[str], before: int = ANY, limit: int = ANY
    ) -> list[Waiting]:
        """What is parked for these activities, in order of arrival, and how large each is; only those
        parked at `before` or earlier, and up to `limit` of them, if given."""
        ...

    async def count_parked(self, activity_ids: Sequence[str]) -> dict[str, ParkedCount]:
        """How much is parked for each of these activities, those with anything."""
        ...

    async def parked(self, keys: Sequence[InboxKey]) -> list[ParkedRow]:
        """These parked events, in order of arrival. Ask for a page of them (`rows.pages`) at a time."""
        ...

    async def stale_parked(self, before: int, limit: int) -> list[str]:
        """Unopened activities with something parked before `before`, locked, skipping locked ones."""
        ...

    async def lock_gates(self, appids: Sequence[str], *, wait: bool) -> dict[str, Gate]:
        """Lock the gates of these apps, by appid; without `wait` locked ones are skipped. After the cards."""
        ...

    async def write(self, writes: Writes) -> None:
        """Write everything, each non-empty list in one statement, counters last."""
        ...


class Store(JobsStore, OperatorsStore, Pages, PersonsStore, PulseStore, RoomsStore, SessionsStore, Protocol):
    """An engine, with its reads and its housekeeping that need no activity's lock."""

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """A new transaction (SQLite: BEGIN IMMEDIATE)."""
        ...

    async def ping(self) -> None:
        """Whether the store answers and is migrated; raises `StoreUnavailable` with what to do."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...

    async def next_due(self) -> int | None:
        """µs until the earliest due_at (negative when overdue); None when nothing is due ever."""
        ...

    async def backlog(self) -> Backlog:
        """Counts and ages."""
        ...

    async def totals(self) -> tuple[dict[str, int], int, int, int]:
        """In one snapshot: the ledger's counters summed over slots; the sum of revision − settled
        over all activities; how many events are parked, and how many openids of events wait for their
        binding (all three counted from the rows)."""
        ...

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        """Renew this owner's relay shards and take its fair part of the free ones (`lease` µs); the
        shards held. Registers the owner, so that the others make room."""
        ...

    async def release_shards(self, owner: str) -> None:
        """Give all shards back and sign off."""
        ...

    async def outbox(self, shards: Sequence[int], limit: int) -> list[OutboxRow]:
        """The oldest rows of these shards, by seq: up to `limit`, and of bounded size together."""
        ...

    async def delete_outbox(self, seqs: Sequence[int]) -> None:
        """Forget what was published."""
        ...

    async def open_gates(self, appids: Sequence[str], reason: str | None) -> list[str]:
        """Open these gates (only those closed for `reason`, if given); which were closed."""
        ...

    async def save_quota(self, appid: str, until: int) -> bool:
        """Keep what is left of its quota for ends until then (µs; 0: no longer); whether that is news."""
        ...

    async def all_gates(self) -> list[Gate]:
        """Every gate, by appid."""
        ...

    async def gate(self, appid: str) -> tuple[Gate, int]:
        """The gate of this app, an open one where none was seen yet, and the database's now."""
        ...

    async def outcomes(self, keys: Sequence[InboxKey]) -> dict[InboxKey, str]:
        """The outcomes of these events, those still remembered."""
        ...

    async def newest_event(self) -> int | None:
        """When the last event of those still remembered was taken in (µs); None: there is none."""
        ...

    async def prune(
        self, *, inbox: int, attempts: int, activities: int, bindings: int = ANY, limit: int
    ) -> dict[str, int]:
        """One step: delete up to `limit` rows a table that are older than these ages (µs): inbox rows
        by arrival (never `parked` ones), attempts by time, answers kept under an `Idempotency-Key` and
        sessions after a day, bindings by when they were last bound, activities with members, and whoever
        waits in them for a binding, by expires_at (their pending revisions count as expired) until these
        are `limit` members together, unopened activities with nothing parked. Rows that somebody holds are
        left for later, so any number may prune at once. Near `limit` in any table: there is more."""
        ...

    async def show(self, activity_id: str) -> Seen | None:
        """Everything about one activity, with its last 20 attempts; None when never seen."""
        ...

    async def openings(self, limit: int, activity_id: str | None = None) -> list[OpenedActivity]:
        """The activities opened last, newest first; or this one. Reads every row: for trying out."""
        ...

    async def attempts(self, activity_id: str, limit: int) -> list[Attempt]:
        """The latest attempts, newest first."""
        ...


async def answers(store: Store, within: float) -> None:
    """Ping, and be told so within `within` seconds; raises `StoreUnavailable`."""
    try:
        async with asyncio.timeout(within):
            await store.ping()
    except TimeoutError:
        raise StoreUnavailable(f"the database gives no answer within {within:g} s") from None
