"""The statements that read outside transactions, by name. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.statements.columns import CLOSED, LOCKED_COLUMNS, SAVES

_CAP = 10_001


def _backlog(name: str, table: str, where: str, oldest: str, order: str) -> str:
    """A capped count and an age. Both in an index's order: the planner cannot know how few there are."""
    first = f"(SELECT {oldest} FROM {table} WHERE {where} ORDER BY {order} LIMIT 1)"
    return f"{_count(name, table, where, order)}, coalesce({{now}} - {first}, 0) AS {name}_age"


def _count(name: str, table: str, where: str, order: str) -> str:
    """A capped count."""
    rows = f"SELECT 1 FROM {table} WHERE {where} ORDER BY {order} LIMIT {_CAP}"
    return f"(SELECT count(*) FROM ({rows}) AS {name}_some) AS {name}"


_CLAIMABLE: Final = f"""SELECT min(f.at) FROM (
          SELECT (SELECT a.attempt_at FROM activities a WHERE a.appid = g.appid AND a.ending = e.ending
              AND a.attempt_at <= {{now}} AND a.expires_at > {{now}} ORDER BY a.attempt_at LIMIT 1) AS at
          FROM gates g JOIN (SELECT true AS ending UNION ALL SELECT false) e
            ON e.ending OR NOT {SAVES}
          WHERE NOT {CLOSED}) f"""
"""Since when the oldest card that a dispatcher may take is due: two looks into the index for each app."""
_OPENED: Final = """
        SELECT activity_id, appid, template, version, title, publisher, choose, expires_at FROM activities"""

READS: Final = {
    "standing": "SELECT version_num, {writable}, {encoding} FROM alembic_version",
    "next_due": "SELECT min(due_at) - {now} FROM activities WHERE due_at IS NOT NULL",
    "backlog": "SELECT "
    + ", ".join(
        (
            _backlog("behind", "activities", "behind_since IS NOT NULL", "behind_since", "behind_since"),
            _backlog("parked", "parked", "true", "parked_at", "parked_at"),
            _backlog("outbox", "outbox", "true", "created_at", "seq"),  # which rise together, all but exactly
            _backlog("due", "activities", "due_at <= {now}", "due_at", "due_at"),
            _backlog("unbound", "unbound", "true", "since", "since"),
            _count("bindings", "bindings", "group_openid <> ''", "appid, room_id, group_openid"),
            f"coalesce({{now}} - ({_CLAIMABLE}), 0) AS claimable_age",
        )
    ),
    "totals": """
        SELECT name, CAST(sum(value) {big}) FROM counters GROUP BY name
        UNION ALL SELECT '=pending', CAST(coalesce(sum(revision - settled), 0) {big}) FROM activities
          WHERE revision > settled AND state <> ''
        UNION ALL SELECT '=parked', count(*) FROM parked
        UNION ALL SELECT '=unbound', count(*) FROM unbound""",
    "outbox_page": """
        SELECT activity_id, topic, id, body, shard, created_at, seq FROM (
          SELECT page.*, sum(octets) OVER (ORDER BY seq) - octets AS before FROM (
            SELECT *, {octets of body} AS octets FROM outbox
              WHERE shard {in shards} ORDER BY seq LIMIT :limit) page) sized
        WHERE before < :size ORDER BY seq""",
    "inbox_outcomes": """
        SELECT i.source, i.id, i.outcome FROM {rows: source text, id text}
        JOIN inbox i ON i.source = r.source AND i.id = r.id""",
    "newest_event": "SELECT max(received_at) FROM inbox",
    "show_activity": f"""
        SELECT {LOCKED_COLUMNS}, due_at, title, publisher, opengid, open_single_roomid, seen_at, opened_at
        FROM activities WHERE activity_id = :id""",
    "show_members": """
        SELECT state, late, delivered, count(*) FROM members WHERE activity_id = :id
        GROUP BY state, late, delivered""",
    "show_skipped": """
        SELECT group_openid FROM members WHERE activity_id = :id AND delivered = 2
        ORDER BY group_openid LIMIT 20""",
    "openings": f"""
        {_OPENED} WHERE opened_at IS NOT NULL ORDER BY opened_at DESC, activity_id LIMIT :limit""",
    "opening": f"{_OPENED} WHERE opened_at IS NOT NULL AND activity_id = :id",
    "listed": """
        SELECT activity_id, group_openid FROM members WHERE activity_id {in ids}
        ORDER BY activity_id, group_openid""",
    "show_parked": "SELECT count(*), min(parked_at) FROM parked WHERE activity_id = :id",
    "show_attempts": """
        SELECT activity_id, revision, fence, at, duration, target_state, members, outcome, errcode, errmsg,
          rid
        FROM attempts WHERE activity_id = :id ORDER BY seq DESC LIMIT :limit""",
}
