"""What is read in pages: an activity's members, who is missing, cards that are not in sync. All times are µs.

A page is what follows a place in the order of the list, so whatever is inserted meanwhile moves nothing: a
row that is there all the time comes once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

import msgspec

from statemachine.card import Card
from statemachine.gate import Gate

PENDING_OR_DONE: Final = ""
"""Members of either state."""


class Owner(NamedTuple):
    """Whose an activity is, and its state: empty while its `opened` is under way."""

    appid: str
    state: str


class ListedMember(NamedTuple):
    """A member as lists show it; `delivered` as in `services.store.rows`."""

    group_openid: str
    state: str
    late: bool
    done_at: int | None
    delivered: int


class MembersPage(msgspec.Struct, frozen=True):
    """Some members of an activity of this app, by group_openid."""

    appid: str
    members: tuple[ListedMember, ...]


class MissingPage(msgspec.Struct, frozen=True):
    """Some who are not done, by group_openid, and what a reminder says."""

    appid: str
    title: str
    template: str
    members: tuple[str, ...]


class Place(NamedTuple):
    """A card's place in the list of those that are not in sync: `statemachine.card.not_in_sync_since`, µs."""

    since: int
    activity_id: str


class OutOfSync(msgspec.Struct, frozen=True):
    """Some cards that are not in sync, each with its app's gate, and the database's now."""

    cards: tuple[tuple[Card, Gate | None], ...]
    now: int


class Pages(Protocol):
    """A store's reads in pages; each is one statement, so one snapshot. `after`: the place of the last row
    that is known; `limit`: so many rows at most."""

    async def owner(self, activity_id: str) -> Owner | None:
        """Whose it is; None where neither an app has created it nor its `opened` has come."""
        ...

    async def members_page(self, activity_id: str, after: str, limit: int, state: str) -> MembersPage | None:
        """Its members, those of `state` if it is not `PENDING_OR_DONE`; None where `owner` says so."""
        ...

    async def missing_page(self, activity_id: str, after: str, limit: int) -> MissingPage | None:
        """Listed: its pending members. Everyone: the bound members of its room who are not done. None where
        `owner` says so."""
        ...

    async def out_of_sync(self, appids: Collection[str], after: Place | None, limit: int) -> OutOfSync:
        """Cards of these apps that are due, calling, uncertain or given up, oldest first by their `Place`."""
        ...

    async def gates_of(self, appids: Collection[str]) -> tuple[list[Gate], int]:
        """The gates of these apps, by appid, and the database's now."""
        ...
