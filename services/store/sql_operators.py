"""What operators did, and their jobs, on an SQL engine: the statements, and the primitives over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.store.dialect import Dialect
from services.store.operators import Action, Filter, Job, Kind, Surveyed

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

_ACTION: Final = "who, what, appid, about, why, said, at"
"""In the order of `Action`'s fields."""

_JOB: Final = "id, kind, filter, who, why, state, estimate, done, refused, place, begun_at, moved_at"
"""In the order of `Job`'s fields."""
_SKIPPED: Final = """a.may_show < 3 AND EXISTS (
            SELECT 1 FROM members m WHERE m.activity_id = a.activity_id AND m.delivered = 2)"""
_GIVEN_UP: Final = "a.verdict NOT IN ('', 'expired', 'continued') AND a.settled >= a.revision"
_WANTED: Final = {
    "redeliver": f"""a.state <> '' AND a.expires_at > {{now}}
          AND a.verdict NOT IN ('expired', 'continued') AND ({_GIVEN_UP} AND (v.verdict = ''
            OR a.verdict = v.verdict) OR v.verdict = '' AND {_SKIPPED})""",
    "close": "a.state IN ('open', 'nearing')",
}


def _survey(kind: str) -> str:
    """A page of the primary key, each row with whether it matches: nothing is read twice, nor all at once."""
    return f"""
        SELECT a.activity_id, a.appid, CASE WHEN a.appid {{in apps}} AND {_WANTED[kind]}
          AND (v.room = '' OR coalesce(a.opengid, a.open_single_roomid) = v.room)
          AND a.opened_at >= v.since AND a.opened_at < v.until THEN 1 ELSE 0 END
        FROM (SELECT * FROM activities WHERE activity_id > :after ORDER BY activity_id LIMIT :limit) a
        CROSS JOIN (SELECT CAST(:verdict AS text) AS verdict, CAST(:room AS text) AS room,
          CAST(:since {{big}}) AS since, CAST(:until {{big}}) AS until) v
        ORDER BY a.activity_id"""


OPERATORS: Final = {
    "note": f"""
        INSERT INTO actions ({_ACTION})
        SELECT r.who, r.what, r.appid, r.about, r.why, r.said, {{now}}
        FROM {{rows: who text, what text, appid text, about text, why text, said text}} WHERE true""",
    "actions": f"SELECT {_ACTION} FROM actions ORDER BY seq DESC LIMIT :limit",
    "survey_redeliver": _survey("redeliver"),
    "survey_close": _survey("close"),
    "begin_job": f"""
        INSERT INTO jobs ({_JOB}) VALUES (:id, :kind, :filter, :who, :why, :state, :estimate, :done, :refused,
          :place, {{now}}, {{now}})""",
    "lock_job": f"SELECT {_JOB} FROM jobs WHERE id = :id {{for update}}",
    "move_job": """
        UPDATE jobs SET state = :state, done = :done, refused = :refused, place = :place, moved_at = {now}
        WHERE id = :id""",
    "jobs": f"SELECT {_JOB} FROM jobs ORDER BY seq DESC LIMIT :limit",
    "actions_of": f"SELECT {_ACTION} FROM actions WHERE appid {{in ids}} ORDER BY seq DESC LIMIT :limit",
}


class SqlOperatorsTx:
    """Implements `services.store.operators.OperatorsTx` and `JobsTx`."""

    _run: ByName

    async def note(self, actions: Sequence[Action]) -> None:
        if actions:
            rows = [(each.who, each.what, each.appid, each.about, each.why, each.said) for each in actions]
            await self._run.rows("note", rows)

    async def begin_job(self, job: Job) -> None:
        values = {**msgspec.structs.asdict(job), "filter": msgspec.json.encode(job.filter).decode()}
        del values["begun_at"], values["moved_at"]
        await self._run.count("begin_job", **values)

    async def lock_job(self, name: str) -> Job | None:
        rows = await self._run("lock_job", id=name)
        return _job(rows[0]) if rows else None

    async def move_job(self, job: Job) -> None:
        moved = {name: getattr(job, name) for name in ("id", "state", "done", "refused", "place")}
        await self._run.count("move_job", **moved)


class SqlOperators:
    """Implements `services.store.operators.OperatorsStore` and `JobsStore`; a part of `SqlStore`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]:
        """`SqlStore`'s."""

    async def actions(self, limit: int, appids: Collection[str] | None = None) -> list[Action]:
        async with self._reading() as run:
            if appids is None:
                rows = await run("actions", limit=limit)
            else:
                rows = await run("actions_of", ids=self.dialect.many(appids), limit=limit)
        return [Action(*row) for row in rows]

    async def jobs(self, limit: int) -> list[Job]:
        async with self._reading() as run:
            return [_job(row) for row in await run("jobs", limit=limit)]

    async def survey(self, kind: Kind, wanted: Filter, after: str, limit: int) -> Surveyed:
        async with self._reading() as run:
            rows = await run(
                f"survey_{kind}",
                apps=self.dialect.many(wanted.appids),
                verdict=wanted.verdict,
                room=wanted.room,
                since=wanted.opened_after,
                until=wanted.opened_before,
                after=after,
                limit=limit,
            )
        matching = tuple((name, appid) for name, appid, matches in rows if matches)
        return Surveyed(matching, rows[-1][0] if len(rows) == limit else None)


def _job(row: Sequence[Any]) -> Job:
    name, kind, said, *rest = row
    return Job(name, kind, msgspec.json.decode(said, type=Filter), *rest)
