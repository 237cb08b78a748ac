"""What a dispatcher claims, on each engine. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.statements.columns import CARD_COLUMNS, CLOSED, SAVES

_ROOM: Final = """CASE WHEN g.reason IN ('token', 'misconfigured', 'blocked') THEN 1
            WHEN g.reason <> '' AND r.room > :narrow THEN :narrow ELSE r.room END"""
"""How many cards of an app a claim may take: one where a call has to find out whether the gate may open."""
_DUE: Final = """a.appid = r.appid AND a.ending = e.ending
              AND a.attempt_at > w.after AND a.attempt_at <= w.until AND a.expires_at > {now}
              AND NOT (a.lease_until > {now} AND a.lease_until <= {now} + :longest)"""
"""`lease_until` matters for the release before alone: it claims without moving `attempt_at`."""
_PROBES: Final = f"""{{rows: appid text, room bigint}}
          JOIN gates g ON g.appid = r.appid AND NOT {CLOSED}
          JOIN (SELECT true AS ending UNION ALL SELECT false) e ON e.ending OR NOT {SAVES}
          CROSS JOIN (SELECT false AS too_far, -1 AS after, {{now}} AS until
            UNION ALL SELECT true, {{now}} + :longest, {2**63 - 1}) w"""
_FIRST: Final = "ending DESC, too_far DESC, attempt_at"
_RANKED: Final = f"row_number() OVER (PARTITION BY appid ORDER BY {_FIRST}) AS turn"
_IN_TURN: Final = f"turn <= room ORDER BY turn, {_FIRST} LIMIT :limit"

CLAIM_POSTGRES: Final = f"""
    SELECT {CARD_COLUMNS}, gate_generation, gate_reason, gate_until, {{clock}} FROM (
      SELECT due.*, {_RANKED} FROM (
        SELECT c.*, w.too_far, g.generation AS gate_generation, g.reason AS gate_reason,
          g.closed_until AS gate_until, {_ROOM} AS room
        FROM {_PROBES}
          CROSS JOIN LATERAL (
            SELECT * FROM activities a WHERE {_DUE}
            ORDER BY a.attempt_at LIMIT {_ROOM} FOR UPDATE SKIP LOCKED) c) due) ranked
    WHERE {_IN_TURN}"""
CLAIM_SQLITE: Final = f"""
    SELECT {CARD_COLUMNS}, gate_generation, gate_reason, gate_until, {{clock}} FROM (
      SELECT due.*, {_RANKED} FROM (
        SELECT c.*, w.too_far, g.generation AS gate_generation, g.reason AS gate_reason,
          g.closed_until AS gate_until, {_ROOM} AS room
        FROM {_PROBES}
          JOIN activities c ON c.rowid IN (
            SELECT a.rowid FROM activities a WHERE {_DUE} ORDER BY a.attempt_at LIMIT :limit)) due) ranked
    WHERE {_IN_TURN}"""
"""What is due: four looks into the index per app that is let in; the apps in turn, within each ends first;
only ends of one that saves.

Due is what has been reached, and what lies further ahead than any wait (`:longest`, that is
`DeliveryRules.longest_wait` and a step of the clock): the other end of the same index.
"""
