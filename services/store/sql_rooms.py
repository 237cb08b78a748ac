"""Rooms on an SQL engine: the named statements, and the primitives over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from services.store.rooms import FIRST, Binding, BindingKey, MemberPlace, once_each
from statemachine.model import Room, Unbound

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

_ROOM_ID: Final = "coalesce(opengid, open_single_roomid)"
_UNBOUND: Final = "appid, room_id, openid, activity_id, source, id, type, time"
"""In the order of `statemachine.model.Unbound`'s fields."""
_WAITS: Final = (
    "unbound.appid = r.appid AND unbound.room_id = r.room_id AND unbound.openid = r.openid "
    "AND unbound.activity_id = r.activity_id AND unbound.type = r.type"
)
"""A person waits once in an activity to be done, and once to be listed. His binding's lock sees to it, not a
key: the release before keeps a row for each event."""
_BINDING: Final = "appid, room_id, openid, single, group_openid, nickname, avatar_url, bound_at"
"""In the order of `Binding`'s fields."""
_OF_THE_KEY: Final = "appid = :appid AND room_id = :room_id AND openid = :openid"

ROOMS: Final = {
    "rooms": f"""
        SELECT activity_id, appid, {_ROOM_ID} FROM activities
        WHERE activity_id {{in ids}} AND {_ROOM_ID} IS NOT NULL""",
    "lock_bindings": """
        SELECT b.appid, b.room_id, b.openid, b.group_openid
        FROM {rows: appid text, room_id text, openid text}
        JOIN bindings b ON b.appid = r.appid AND b.room_id = r.room_id AND b.openid = r.openid
        ORDER BY b.appid, b.room_id, b.openid {for update}""",
    "see_people": """
        INSERT INTO bindings (appid, room_id, openid, bound_at)
        SELECT r.appid, r.room_id, r.openid, {now} FROM {rows: appid text, room_id text, openid text}
        WHERE true ORDER BY r.appid, r.room_id, r.openid ON CONFLICT (appid, room_id, openid) DO NOTHING""",
    "bind": f"""
        INSERT INTO bindings ({_BINDING})
        SELECT r.appid, r.room_id, r.openid, r.single, r.group_openid, r.nickname, r.avatar_url, {{now}}
        FROM {{rows: appid text, room_id text, openid text, single boolean, group_openid text, nickname text,
          avatar_url text}}
        WHERE true ON CONFLICT (appid, room_id, openid) DO UPDATE SET single = excluded.single,
          group_openid = excluded.group_openid, nickname = coalesce(excluded.nickname, bindings.nickname),
          avatar_url = coalesce(excluded.avatar_url, bindings.avatar_url), bound_at = excluded.bound_at""",
    "wait": f"""
        INSERT INTO unbound ({_UNBOUND}, since)
        SELECT r.appid, r.room_id, r.openid, r.activity_id, r.source, r.id, r.type, r.time, {{now}}
        FROM {{rows: appid text, room_id text, openid text, activity_id text, source text, id text, type text,
          time bigint}}
        WHERE NOT EXISTS (SELECT 1 FROM unbound WHERE {_WAITS})
        ON CONFLICT (appid, room_id, openid, activity_id, source, id) DO NOTHING RETURNING id""",
    "wait_since": f"""
        UPDATE unbound SET time = r.time
        FROM {{rows: appid text, room_id text, openid text, activity_id text, source text, id text, type text,
          time bigint}}
        WHERE {_WAITS} AND unbound.time > r.time""",
    "take_unbound": f"DELETE FROM unbound WHERE {_OF_THE_KEY} RETURNING {_UNBOUND}, since",
    "unbound": f"SELECT {_UNBOUND} FROM unbound WHERE activity_id {{in ids}} ORDER BY {_UNBOUND}",
    "count_unbound": """
        SELECT activity_id, count(*) FROM unbound WHERE activity_id {in ids} GROUP BY activity_id""",
    "delete_unbound": "DELETE FROM unbound WHERE activity_id {in ids}",
    "room_members": f"""
        SELECT {_BINDING} FROM bindings
        WHERE appid = :appid AND room_id = :room_id AND group_openid <> ''
          AND (group_openid, openid) > (:group_openid, :after)
        ORDER BY group_openid, openid LIMIT :limit""",
}


class SqlRoomsTx:
    """Implements `services.store.rooms.RoomsTx`."""

    _run: ByName

    async def rooms(self, activity_ids: Sequence[str]) -> dict[str, Room]:
        if not activity_ids:
            return {}
        return {name: Room(*room) for name, *room in await self._named("rooms", activity_ids)}

    async def lock_bindings(self, keys: Sequence[BindingKey]) -> dict[BindingKey, str]:
        locked: dict[BindingKey, str] = {}
        while missing := sorted(set(keys) - locked.keys()):  # again, if one was pruned in between
            await self._run.rows("see_people", missing)  # first, so that all are locked in one order
            locked |= await self._lock_bindings(missing)
        return {key: group_openid for key, group_openid in locked.items() if group_openid}

    async def _lock_bindings(self, keys: Iterable[BindingKey]) -> dict[BindingKey, str]:
        rows = await self._run.rows("lock_bindings", keys)
        return {BindingKey(*key): group_openid for *key, group_openid in rows}

    async def bind(self, binding: Binding) -> None:
        b = binding
        row = (b.appid, b.room_id, b.openid, b.single, b.group_openid, b.nickname, b.avatar_url)
        await self._run.rows("bind", [row])

    async def take_unbound(self, key: BindingKey) -> list[Unbound]:
        rows = [tuple(row) for row in await self._run("take_unbound", **key._asdict())]
        rows.sort(key=lambda row: (row[-1], row))
        return [Unbound(*row[:-1]) for row in rows]

    async def _wait(self, waits: Sequence[Unbound]) -> int:
        """Let them wait, and say how many did not before."""
        first = once_each(waits)
        await self._run.rows("wait_since", first)
        return len(await self._run.rows("wait", first))

    async def unbound(self, activity_ids: Sequence[str]) -> list[Unbound]:
        if not activity_ids:
            return []
        return [Unbound(*row) for row in await self._named("unbound", activity_ids)]

    async def count_unbound(self, activity_ids: Sequence[str]) -> dict[str, int]:
        if not activity_ids:
            return {}
        return dict(map(tuple, await self._named("count_unbound", activity_ids)))

    async def _named(self, statement: str, ids: Sequence[str]) -> Sequence[Any]:
        return await self._run(statement, ids=self._run.dialect.many(ids))


class SqlRoomsStore:
    """Implements `services.store.rooms.RoomsStore`."""

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]:
        """`SqlStore`'s."""

    async def room_members(
        self, appid: str, room_id: str, after: MemberPlace = FIRST, limit: int = 100
    ) -> list[Binding]:
        where = {"appid": appid, "room_id": room_id, "group_openid": after.group_openid}
        async with self._reading() as run:
            rows = await run("room_members", **where, after=after.openid, limit=limit)
            return [_binding(row) for row in rows]


def _binding(row: Sequence[Any]) -> Binding:
    """SQLite keeps booleans as numbers."""
    appid, room_id, openid, single, *rest = row
    return Binding(appid, room_id, openid, bool(single), *rest)
