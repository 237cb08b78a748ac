"""Reads in pages on an SQL engine, and their statements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from services.store.dialect import Dialect
from services.store.pages import ListedMember, MembersPage, MissingPage, OutOfSync, Owner, Place
from services.store.sql_tx import ByName, read_card
from services.store.statements import CARD_COLUMNS, GATE_COLUMNS
from statemachine.gate import Gate

GATE: Final = len(Gate.__struct_fields__)
_OWNED: Final = "activity_id = :id AND appid <> ''"

_CAUSE: Final = "coalesce(behind_since, CASE WHEN verdict <> '' THEN retry_at ELSE suspect_at END)"
SINCE: Final = f"CASE WHEN suspect_at < {_CAUSE} THEN suspect_at ELSE {_CAUSE} END"
"""`statemachine.card.not_in_sync_since` as SQL; the index of migration 0011 is made of the same text."""
NOT_IN_SYNC: Final = (
    "(behind_since IS NOT NULL OR suspect_at IS NOT NULL OR verdict <> '')"
    " AND verdict NOT IN ('expired', 'continued')"
)
_NEXT: Final = f"""
    appid = r.appid AND {NOT_IN_SYNC}
      AND {SINCE} >= :since AND ({SINCE}, activity_id) > (:since, :after)
    ORDER BY {SINCE}, activity_id LIMIT :limit"""
_PAGE: Final = f"""
    SELECT {CARD_COLUMNS}, gate_app, closed_until, closed_at, gate_reason, errcode, errmsg, generation, wait,
      saving_until, {{clock}}
    FROM (
      SELECT c.*, g.appid AS gate_app, g.closed_until, g.closed_at, g.reason AS gate_reason, g.errcode,
        g.errmsg, g.generation, g.wait, g.saving_until
      FROM {{rows: appid text}} {{cards of the app}} LEFT JOIN gates g ON g.appid = r.appid) page
    ORDER BY {SINCE}, activity_id LIMIT :limit"""

PAGES: Final = {
    "owner": f"SELECT appid, state FROM activities WHERE {_OWNED}",
    "members_page": f"""
        SELECT a.appid, m.group_openid, m.state, m.late, m.done_at, m.delivered
        FROM (SELECT appid FROM activities WHERE {_OWNED}) a
        LEFT JOIN (
          SELECT group_openid, state, late, done_at, delivered FROM members
          WHERE activity_id = :id AND group_openid > :after
            AND (CAST(:state AS text) = '' OR state = CAST(:state AS text))
          ORDER BY group_openid LIMIT :limit) m ON true
        ORDER BY m.group_openid""",
    "missing_page": f"""
        WITH a AS (
          SELECT appid, title, template, choose, coalesce(opengid, open_single_roomid) AS room_id
          FROM activities WHERE {_OWNED})
        SELECT a.appid, a.title, a.template, m.group_openid FROM a
        LEFT JOIN (
          SELECT group_openid FROM (
            SELECT p.group_openid AS group_openid FROM members p
            WHERE (SELECT choose FROM a) = 'listed' AND p.activity_id = :id AND p.group_openid > :after
              AND p.state = 'pending'
            ORDER BY p.group_openid LIMIT :limit) listed
          UNION ALL
          SELECT group_openid FROM (
            SELECT DISTINCT b.group_openid AS group_openid FROM bindings b
            WHERE b.appid = (SELECT appid FROM a WHERE choose = 'everyone')
              AND b.room_id = (SELECT room_id FROM a) AND b.group_openid <> '' AND b.group_openid > :after
              AND NOT EXISTS (
                SELECT 1 FROM members d
                WHERE d.activity_id = :id AND d.group_openid = b.group_openid AND d.state = 'done')
            ORDER BY b.group_openid LIMIT :limit) everyone) m ON true
        ORDER BY m.group_openid""",
    "gates_of": f"SELECT {GATE_COLUMNS}, {{clock}} FROM gates WHERE appid {{in ids}} ORDER BY appid",
}
OUT_OF_SYNC_POSTGRES: Final = _PAGE.replace(
    "{cards of the app}", f"CROSS JOIN LATERAL (SELECT * FROM activities WHERE {_NEXT}) c"
)
OUT_OF_SYNC_SQLITE: Final = _PAGE.replace(
    "{cards of the app}", f"JOIN activities c ON c.rowid IN (SELECT rowid FROM activities WHERE {_NEXT})"
)
"""Of each app one look into the partial index, however many cards there are; then the oldest of all."""


class SqlPages:
    """Implements `services.store.pages.Pages`; a part of `SqlStore`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]: ...

    async def owner(self, activity_id: str) -> Owner | None:
        async with self._reading() as run:
            found = await run("owner", id=activity_id)
        return Owner(*found[0]) if found else None

    async def members_page(self, activity_id: str, after: str, limit: int, state: str) -> MembersPage | None:
        async with self._reading() as run:
            rows = await run("members_page", id=activity_id, after=after, limit=limit, state=state)
        if not rows:
            return None
        members = [
            ListedMember(name, kind, bool(late), done_at, delivered)
            for _, name, kind, late, done_at, delivered in rows
            if name is not None
        ]
        return MembersPage(rows[0][0], tuple(members))

    async def missing_page(self, activity_id: str, after: str, limit: int) -> MissingPage | None:
        async with self._reading() as run:
            rows = await run("missing_page", id=activity_id, after=after, limit=limit)
        if not rows:
            return None
        appid, title, template, _ = rows[0]
        return MissingPage(appid, title, template, tuple(row[3] for row in rows if row[3] is not None))

    async def out_of_sync(self, appids: Collection[str], after: Place | None, limit: int) -> OutOfSync:
        if not appids:
            return OutOfSync((), 0)
        since, last = after or Place(-1, "")
        apps = [(appid,) for appid in sorted(appids)]
        async with self._reading() as run:
            rows = await run.rows("out_of_sync", apps, since=since, after=last, limit=limit)
        return OutOfSync(tuple(map(_card_and_gate, rows)), int(rows[0][-1]) if rows else 0)

    async def gates_of(self, appids: Collection[str]) -> tuple[list[Gate], int]:
        async with self._reading() as run:
            rows = await run("gates_of", ids=self.dialect.many(sorted(appids)))
        return [Gate(*row[:-1]) for row in rows], int(rows[0][-1]) if rows else 0


def _card_and_gate(row: Any) -> tuple[Any, Gate | None]:
    card, gate = row[: -GATE - 1], row[-GATE - 1 : -1]
    return read_card(card), None if gate[0] is None else Gate(*gate)
