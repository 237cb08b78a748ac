"""What a clock takes, on each engine. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.statements.columns import LOCKED_COLUMNS

_DUE: Final = "FROM activities a WHERE a.appid = g.appid AND a.due_at <= {now} ORDER BY a.due_at LIMIT"

LOCK_DUE_POSTGRES: Final = f"""
    SELECT {LOCKED_COLUMNS} FROM (
      SELECT due.* FROM (
        SELECT appid, count(*) OVER () AS apps FROM (
          SELECT g.appid FROM gates g CROSS JOIN LATERAL (SELECT a.due_at {_DUE} 1) first
          ORDER BY first.due_at LIMIT :limit) latest) g
        CROSS JOIN LATERAL (SELECT * {_DUE} :limit / g.apps {{skip locked}}) due) locked"""
LOCK_DUE_SQLITE: Final = f"""
    SELECT {LOCKED_COLUMNS} FROM (
      SELECT c.*, row_number() OVER (PARTITION BY c.appid ORDER BY c.due_at) AS turn
      FROM gates g JOIN activities c ON c.rowid IN (SELECT a.rowid {_DUE} :limit)) due
    ORDER BY turn, due_at LIMIT :limit"""
"""The earliest of each app, every app as many: what is locked is used, so the limit is shared out before. Of
more apps than the limit those come first that are the latest by now."""
