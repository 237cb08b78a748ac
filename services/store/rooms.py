"""Who is who in a room, as rows: bindings, and people who wait for theirs (design.md §8, *Rooms*)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from statemachine.model import Room, Unbound


class BindingKey(NamedTuple):
    """What a binding is found and locked by. `room_id` is the raw `opengid` or `open_single_roomid`."""

    appid: str
    room_id: str
    openid: str


class Binding(msgspec.Struct, frozen=True):
    """This openid is this group_openid in this room of this app, since `bound_at` (µs). `single`: the room's
    id is an `open_single_roomid`."""

    appid: str
    room_id: str
    openid: str
    single: bool
    group_openid: str
    nickname: str | None = None
    avatar_url: str | None = None
    bound_at: int = 0


class MemberPlace(NamedTuple):
    """Where a page of a room's members begins: after this one."""

    group_openid: str = ""
    openid: str = ""


FIRST: Final = MemberPlace()


def once_each(waits: Iterable[Unbound]) -> list[Unbound]:
    """By person, activity and type: the first to come, since the earliest time of all."""
    first: dict[tuple[str, ...], Unbound] = {}
    for each in waits:
        key = (*each[:4], each.type)
        known = first.setdefault(key, each)
        first[key] = known._replace(time=min(known.time, each.time))
    return list(first.values())


class RoomsTx(Protocol):
    """The primitives of one transaction, as `services.store.ports.Tx` has them. Bindings are locked after
    activities, in order of their keys."""

    async def rooms(self, activity_ids: Sequence[str]) -> dict[str, Room]:
        """The rooms of these activities, of those that were opened in one; an opening fixes it for good."""
        ...

    async def lock_bindings(self, keys: Sequence[BindingKey]) -> dict[BindingKey, str]:
        """Lock these bindings, making rows for people never seen there; the group_openids of the bound."""
        ...

    async def bind(self, binding: Binding) -> None:
        """Write a binding, locking it; the latest wins. `bound_at` is the database's now; a nickname or an
        avatar that is not given stays as it is."""
        ...

    async def take_unbound(self, key: BindingKey) -> list[Unbound]:
        """Take away what waits for this binding, which is locked; oldest first."""
        ...

    async def unbound(self, activity_ids: Sequence[str]) -> list[Unbound]:
        """Who waits in these activities, by key. Whoever copies them locks their bindings first and reads
        again."""
        ...

    async def count_unbound(self, activity_ids: Sequence[str]) -> dict[str, int]:
        """How many wait in these activities, of those in which anybody does."""
        ...


class RoomsStore(Protocol):
    """The reads, as `services.store.ports.Store` has them."""

    async def room_members(
        self, appid: str, room_id: str, after: MemberPlace = FIRST, limit: int = 100
    ) -> list[Binding]:
        """Who is bound in this room, by (group_openid, openid)."""
        ...
