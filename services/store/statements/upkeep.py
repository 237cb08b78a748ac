"""The statements of the relay, of whoever opens gates, and of pruning, by name. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.requests import PRUNE_REQUESTS
from services.store.sessions import PRUNE_SESSIONS
from services.store.upkeep import ANNOUNCED_AGE

_NOTHING_PARKED: Final = "NOT EXISTS (SELECT 1 FROM parked WHERE parked.activity_id = activities.activity_id)"


def _delete_oldest(table: str, where: str, order: str) -> str:
    """Up to `:limit` rows that nobody else holds: pruners do not wait for each other, nor for writers."""
    return (
        f"DELETE FROM {table} WHERE {{row}} {{of these}}SELECT {{row}} FROM {table} "
        f"WHERE {where} ORDER BY {order} LIMIT :limit {{skip locked}}{{end}}"
    )


UPKEEP: Final = {
    "delete_outbox": "DELETE FROM outbox WHERE seq IN (SELECT r.seq FROM {rows: seq bigint})",
    "sign_on": """
        INSERT INTO relays (owner, until) VALUES (:owner, {now} + :lease)
        ON CONFLICT (owner) DO UPDATE SET until = excluded.until""",
    "sign_off": "DELETE FROM relays WHERE owner = :owner",
    "forget_relays": "DELETE FROM relays WHERE until < {now} OR until > {now} + :lease",
    "count_relays": "SELECT count(*) FROM relays",
    "lock_shards": "SELECT shard, owner, until - {now} FROM relay_leases ORDER BY shard {for update}",
    "write_shards": """
        UPDATE relay_leases SET owner = r.owner, until = CASE WHEN r.owner = '' THEN 0 ELSE {now} + :lease END
        FROM {rows: shard bigint, owner text} WHERE relay_leases.shard = r.shard""",
    "free_shards": "UPDATE relay_leases SET owner = '', until = 0 WHERE owner = :owner",
    "closed_gates": """
        SELECT appid FROM gates WHERE appid {in ids} AND reason <> ''
          AND (CAST(:reason AS text) = '' OR reason = CAST(:reason AS text)) ORDER BY appid {for update}""",
    "open_gates": """
        UPDATE gates SET closed_until = 0, reason = '', errcode = 0, errmsg = '', wait = 0
        WHERE appid {in ids}""",
    "save_quota": """
        UPDATE gates SET saving_until = :until WHERE appid = :appid AND saving_until <> :until
        RETURNING appid""",
    "prune_inbox": _delete_oldest(
        "inbox", "received_at < {now} - :age AND outcome <> 'parked'", "received_at"
    ),
    "prune_attempts": _delete_oldest("attempts", "at < {now} - :age", "at"),
    "prune_bindings": _delete_oldest("bindings", "bound_at < {now} - :age", "bound_at"),
    "prune_requests": _delete_oldest("requests", PRUNE_REQUESTS, "started_at"),
    "prune_sessions": _delete_oldest("sessions", PRUNE_SESSIONS, "expires_at"),
    "old_activities": """
        SELECT activity_id, revision - settled, CASE WHEN participants > done THEN participants ELSE done END
          + (SELECT count(*) FROM unbound u WHERE u.activity_id = activities.activity_id) FROM activities
        WHERE state = 'ended' AND expires_at < {now} - :age ORDER BY expires_at LIMIT :limit {skip locked}""",
    "unopened_activities": f"""
        SELECT activity_id FROM activities
        WHERE state = '' AND seen_at < {{now}} - :age AND {_NOTHING_PARKED}
          AND (appid = '' OR seen_at < {{now}} - {ANNOUNCED_AGE})
        ORDER BY seen_at LIMIT :limit {{skip locked}}""",
    "delete_unopened": f"""
        DELETE FROM activities WHERE activity_id {{in ids}} AND state = '' AND {_NOTHING_PARKED}""",
    "delete_members": "DELETE FROM members WHERE activity_id {in ids}",
    "delete_attempts": "DELETE FROM attempts WHERE activity_id {in ids}",
    "delete_activities": "DELETE FROM activities WHERE activity_id {in ids}",
}
