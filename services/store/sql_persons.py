"""Persons on an SQL engine: the named statements, and the primitives over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from contracts.records import decode_record, encode_record
from services.store.dialect import Dialect
from services.store.persons import Alias, PlacedParked, Tally
from services.store.rows import OutboxRow, ParkedRow

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

TEXTS: Final = (
    ("actions", "seq", "why"),
    ("actions", "seq", "said"),
    ("jobs", "id", "why"),
    ("gates", "appid", "errmsg"),
)
"""Small tables with free texts, each with its key."""
ANSWERS: Final = ("attempts", "seq", "errmsg")

PERSONS: Final = {
    "known_as": """
        SELECT DISTINCT openid, group_openid FROM bindings
        WHERE openid {in names} OR group_openid {in names}""",
    "activities_with": """
        SELECT a.activity_id, a.progress_members, CASE WHEN a.publisher {in names} OR EXISTS (
          SELECT 1 FROM members m WHERE m.activity_id = a.activity_id AND m.group_openid {in names}
        ) THEN 1 ELSE 0 END
        FROM (SELECT activity_id, progress_members, publisher FROM activities
          WHERE activity_id > :after ORDER BY activity_id LIMIT :limit) a
        ORDER BY a.activity_id""",
    "answers_until": """
        SELECT max(seq) FROM (
          SELECT seq FROM attempts WHERE seq > :after ORDER BY seq LIMIT :limit) page""",
    "texts_attempts_errmsg": """
        SELECT seq, errmsg FROM attempts
        WHERE seq > :after AND seq <= :until AND replace(errmsg, :person, '') <> errmsg""",
    "forget_members": """
        DELETE FROM members WHERE activity_id {in ids} AND group_openid {in names}
        RETURNING activity_id, state""",
    "tally": """
        UPDATE activities SET participants = r.participants, done = r.done,
          progress_members = r.progress_members
        FROM {rows: activity_id text, participants bigint, done bigint, progress_members text}
        WHERE activities.activity_id = r.activity_id""",
    "forget_publishers": """
        UPDATE activities SET publisher = NULL WHERE activity_id {in ids} AND publisher {in names}""",
    "rewrite_parked": "UPDATE parked SET record = :record WHERE source = :source AND id = :id",
    "rewrite_outbox": "UPDATE outbox SET body = :body WHERE seq = :seq",
    "drop_outbox": "DELETE FROM outbox WHERE seq = :seq",
    "forget_bindings": "DELETE FROM bindings WHERE openid {in names} OR group_openid {in names}",
    "forget_unbound": "DELETE FROM unbound WHERE openid {in names}",
    "forget_sessions": "DELETE FROM sessions WHERE openid {in names}",
    "forget_requests": "DELETE FROM requests WHERE replace(body, :quoted, '') <> body",
    "parked_after": """
        SELECT seq, activity_id, source, id, parked_at, record FROM parked
        WHERE seq > :place ORDER BY seq LIMIT :limit""",
    "outbox_after": """
        SELECT activity_id, topic, id, body, shard, created_at, seq FROM outbox
        WHERE seq > :place ORDER BY seq LIMIT :limit""",
    **{
        f"texts_{table}_{column}": f"""
        SELECT {key}, {column} FROM {table} WHERE replace({column}, :person, '') <> {column}"""
        for table, key, column in TEXTS
    },
    **{
        f"retell_{table}_{column}": f"""
        UPDATE {table} SET {column} = :text WHERE {key} = :key AND {column} = :before"""
        for table, key, column in (*TEXTS, ANSWERS)
    },
}


class SqlPersonsTx:
    """Implements `services.store.persons.PersonsTx`."""

    _run: ByName

    async def forget_members(
        self, activity_ids: Sequence[str], names: Collection[str]
    ) -> list[tuple[str, str]]:
        many = self._run.dialect.many
        rows = await self._run("forget_members", ids=many(activity_ids), names=many(names))
        return [(name, state) for name, state in rows]

    async def tally(self, tallies: Sequence[Tally]) -> None:
        rows = [(*each[:3], _progress(each.progress_members)) for each in tallies]
        if rows:
            await self._run.rows("tally", rows)

    async def forget_publishers(self, activity_ids: Sequence[str], names: Collection[str]) -> int:
        many = self._run.dialect.many
        return await self._run.count("forget_publishers", ids=many(activity_ids), names=many(names))

    async def rewrite_parked(self, row: ParkedRow) -> None:
        await self._run.count(
            "rewrite_parked", record=encode_record(row.record), source=row.source, id=row.id
        )

    async def rewrite_outbox(self, seq: int, body: str) -> None:
        await self._run.count("rewrite_outbox", seq=seq, body=body)

    async def drop_outbox(self, seq: int) -> None:
        await self._run.count("drop_outbox", seq=seq)

    async def forget_bindings(self, names: Collection[str]) -> int:
        return await self._forget("forget_bindings", names)

    async def forget_unbound(self, names: Collection[str]) -> int:
        return await self._forget("forget_unbound", names)

    async def forget_sessions(self, names: Collection[str]) -> int:
        return await self._forget("forget_sessions", names)

    async def forget_requests(self, names: Collection[str]) -> int:
        quoted = [msgspec.json.encode(name).decode() for name in names]
        return sum([await self._run.count("forget_requests", quoted=each) for each in quoted])

    async def forget_answers(
        self, after: int, until: int, names: Collection[str], without: Callable[[str], str]
    ) -> int:
        return await self._retell(ANSWERS, names, without, after=after, until=until)

    async def forget_texts(self, names: Collection[str], without: Callable[[str], str]) -> int:
        return sum([await self._retell(each, names, without) for each in TEXTS])

    async def _retell(
        self, where: tuple[str, str, str], names: Collection[str], without: Callable[[str], str], **place: int
    ) -> int:
        table, _, column = where
        count, found = 0, set[tuple[Any, str]]()
        for name in names:
            found |= {tuple(row) for row in await self._run(f"texts_{table}_{column}", person=name, **place)}
        for key, before in sorted(found):
            if (text := without(before)) != before:
                count += await self._run.count(f"retell_{table}_{column}", key=key, before=before, text=text)
        return count

    async def _forget(self, statement: str, names: Collection[str]) -> int:
        return await self._run.count(statement, names=self._run.dialect.many(names))


class SqlPersons:
    """Implements `services.store.persons.PersonsStore`; a part of `SqlStore`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]:
        """`SqlStore`'s."""

    async def known_as(self, names: Collection[str]) -> list[Alias]:
        async with self._reading() as run:
            return [Alias(*row) for row in await run("known_as", names=self.dialect.many(names))]

    async def activities_with(
        self, names: Collection[str], after: str, limit: int
    ) -> tuple[list[str], str | None]:
        async with self._reading() as run:
            many = self.dialect.many(names)
            rows = await run("activities_with", names=many, after=after, limit=limit)
        theirs, wanted = list[str](), set(names)
        for activity_id, members, found in rows:
            if found or (members and not wanted.isdisjoint(msgspec.json.decode(members))):
                theirs.append(activity_id)
        return theirs, rows[-1][0] if len(rows) == limit else None

    async def answers_until(self, after: int, limit: int) -> int | None:
        async with self._reading() as run:
            until: int | None = (await run("answers_until", after=after, limit=limit))[0][0]
            return until

    async def parked_after(self, place: int, limit: int) -> list[PlacedParked]:
        async with self._reading() as run:
            rows = await run("parked_after", place=place, limit=limit)
        return [
            PlacedParked(seq, ParkedRow(activity, source, key, at, decode_record(record)))
            for seq, activity, source, key, at, record in rows
        ]

    async def outbox_after(self, seq: int, limit: int) -> list[OutboxRow]:
        async with self._reading() as run:
            return [OutboxRow(*row) for row in await run("outbox_after", place=seq, limit=limit)]


def _progress(members: tuple[str, ...]) -> str:
    return msgspec.json.encode(members).decode() if members else ""
