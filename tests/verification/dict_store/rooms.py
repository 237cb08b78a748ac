"""Rooms in the dict store: bindings, and people who wait for theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from services.store.rooms import FIRST, Binding, BindingKey, MemberPlace
from statemachine.model import Room, Unbound
from tests.verification.dict_store.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Hashable


class RoomsTx:
    """Implements `services.store.rooms.RoomsTx`; what it writes is kept back until the commit."""

    _tables: Tables
    _now: Callable[[], int]

    def __init__(self) -> None:
        self._people: set[BindingKey] = set()
        self._bound: list[Binding] = []
        self._taken: list[Unbound] = []

    if TYPE_CHECKING:

        def _step(self) -> Awaitable[None]: ...

        def _lock(self, key: Hashable) -> Awaitable[None]: ...

    async def rooms(self, activity_ids: Sequence[str]) -> dict[str, Room]:
        await self._step()
        rows = {name: self._tables.rows[name] for name in activity_ids if name in self._tables.rows}
        return {name: room for name, row in rows.items() if (room := row.room)}

    async def lock_bindings(self, keys: Sequence[BindingKey]) -> dict[BindingKey, str]:
        await self._step()
        bound = {}
        for key in sorted(set(keys)):
            await self._lock(("binding", key))
            binding = self._tables.bindings.get(key)
            if binding is None:
                self._people.add(key)
            elif binding.group_openid:
                bound[key] = binding.group_openid
        return bound

    async def bind(self, binding: Binding) -> None:
        await self._step()
        await self._lock(("binding", BindingKey(binding.appid, binding.room_id, binding.openid)))
        self._bound.append(binding)

    async def take_unbound(self, key: BindingKey) -> list[Unbound]:
        await self._step()
        found = sorted(each for each in self._tables.unbound_rows.values() if each[1][:3] == key)
        self._taken = [row for _, row in found]
        return self._taken

    async def unbound(self, activity_ids: Sequence[str]) -> list[Unbound]:
        await self._step()
        rows = (row for _, row in self._tables.unbound_rows.values())
        return sorted(row for row in rows if row.activity_id in activity_ids)

    async def count_unbound(self, activity_ids: Sequence[str]) -> dict[str, int]:
        return dict(Counter(row.activity_id for row in await self.unbound(activity_ids)))

    def commit_rooms(self, now: int) -> None:
        """What was seen, bound and taken becomes true."""
        tables = self._tables
        for key in self._people:
            tables.bindings.setdefault(key, Binding(*key, single=False, group_openid="", bound_at=now))
        for binding in self._bound:
            key = BindingKey(binding.appid, binding.room_id, binding.openid)
            before = tables.bindings.get(key, binding)
            tables.bindings[key] = msgspec.structs.replace(
                binding,
                nickname=before.nickname if binding.nickname is None else binding.nickname,
                avatar_url=before.avatar_url if binding.avatar_url is None else binding.avatar_url,
                bound_at=now,
            )
        for row in self._taken:
            tables.unbound_rows.pop((*row[:4], row.type), None)


class RoomsReads(Tables):
    """Implements `services.store.rooms.RoomsStore`."""

    def _bound_in(self, appid: str, room_id: str) -> list[Binding]:
        found = [
            each
            for each in self.bindings.values()
            if (each.appid, each.room_id) == (appid, room_id) and each.group_openid
        ]
        return sorted(found, key=lambda each: (each.group_openid, each.openid))

    async def room_members(
        self, appid: str, room_id: str, after: MemberPlace = FIRST, limit: int = 100
    ) -> list[Binding]:
        bound = self._bound_in(appid, room_id)
        return [each for each in bound if (each.group_openid, each.openid) > after][:limit]

    def prune_bindings(self, before: int, limit: int) -> int:
        """Those last bound before, the oldest first, that nobody has locked."""
        rows = sorted(self.bindings.items(), key=lambda each: each[1].bound_at)
        old = [
            key for key, each in rows if each.bound_at < before and ("binding", key) not in self.locks.holder
        ][:limit]
        for key in old:
            del self.bindings[key]
        return len(old)

    def drop_unbound(self, activity_ids: Sequence[str]) -> int:
        """Nobody waits any longer in activities that are deleted."""
        gone = [key for key, (_, row) in self.unbound_rows.items() if row.activity_id in activity_ids]
        for key in gone:
            del self.unbound_rows[key]
        self.ledger["openids.dropped"] += len(gone)
        return len(gone)
