"""The console's reads on an SQL engine, and their statements."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Final

from services.store.dialect import Dialect
from services.store.pulse import CallCount, DoneMember, Lately, Standing, Unpublished, WaitingEvent
from services.store.rows import shard_of
from services.store.sql_pages import NOT_IN_SYNC, SINCE
from services.store.sql_tx import ByName
from services.store.statements import GATE_COLUMNS
from statemachine.gate import Gate

OUTBOX_READ: Final = 1000
"""Rows of a shard of the outbox among which one activity's are sought: it is empty unless Kafka is away."""

_OLDEST: Final = f"""
    SELECT behind_since FROM activities WHERE appid = g.appid AND {NOT_IN_SYNC}
    ORDER BY {SINCE}, activity_id LIMIT :limit"""

PULSE: Final = {
    "standings": f"""
        SELECT {GATE_COLUMNS}, (SELECT count(*) FROM ({_OLDEST}) listed),
          (SELECT min(behind_since) FROM ({_OLDEST}) listed), {{clock}}
        FROM gates g ORDER BY appid""",
    "calls_between": """
        SELECT a.appid, count(*), CAST(sum(CASE WHEN t.outcome = 'ok' THEN 1 ELSE 0 END) {big}),
          max(t.duration)
        FROM (SELECT activity_id, outcome, duration FROM attempts WHERE at >= :since AND at < :until
          ORDER BY at LIMIT :limit) t
        JOIN activities a ON a.activity_id = t.activity_id
        GROUP BY a.appid ORDER BY a.appid""",
    "counters_alone": "SELECT name, CAST(sum(value) {big}) FROM counters GROUP BY name",
    "lately_done": """
        SELECT group_openid, done_at, late FROM members WHERE activity_id = :id AND state = 'done'
        ORDER BY done_at DESC, group_openid LIMIT :limit""",
    "lately_parked": """
        SELECT source, id, parked_at FROM parked WHERE activity_id = :id ORDER BY seq DESC LIMIT :limit""",
    "lately_outbox": f"""
        SELECT topic, id, created_at FROM (
          SELECT seq, activity_id, topic, id, created_at FROM outbox WHERE shard = :shard
          ORDER BY seq LIMIT {OUTBOX_READ}) page
        WHERE activity_id = :id ORDER BY seq DESC LIMIT :limit""",
}


class SqlPulse:
    """Implements `services.store.pulse.PulseStore`; a part of `SqlStore`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]: ...

    async def standings(self, limit: int) -> tuple[list[Standing], int]:
        async with self._reading() as run:
            rows = await run("standings", limit=limit)
        found = [Standing(Gate(*gate), int(count), since) for *gate, count, since, _ in rows]
        return found, int(rows[0][-1]) if rows else 0

    async def calls_between(self, since: int, until: int, limit: int) -> list[CallCount]:
        async with self._reading() as run:
            rows = await run("calls_between", since=since, until=until, limit=limit)
        return [CallCount(row[0], *map(int, row[1:])) for row in rows]

    async def counters(self) -> dict[str, int]:
        async with self._reading() as run:
            return {name: int(value) for name, value in await run("counters_alone")}

    async def lately(self, activity_id: str, limit: int) -> Lately:
        async with self._reading(alone=False) as run:
            done = await run("lately_done", id=activity_id, limit=limit)
            parked = await run("lately_parked", id=activity_id, limit=limit)
            shard = shard_of(activity_id)
            outbox = await run("lately_outbox", id=activity_id, shard=shard, limit=limit)
        return Lately(
            tuple(DoneMember(who, at, bool(late)) for who, at, late in done),
            tuple(WaitingEvent(*row) for row in parked),
            tuple(Unpublished(*row) for row in outbox),
        )
