"""Every statement of the transactions but those of claim and due, by name. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.requests import REQUESTS
from services.store.statements.columns import (
    CARD_COLUMNS,
    CLOSED,
    DELIVERY_ROWS,
    GATE_COLUMNS,
    GATES,
    LOCKED_COLUMNS,
    OWED,
    WRITE_DELIVERY,
)

TRANSACTION: Final = {
    **REQUESTS,
    "now": "SELECT {clock}",
    "admit": """
        INSERT INTO inbox (source, id, activity_id, outcome, reason, received_at)
        SELECT r.source, r.id, r.activity_id, 'applied', '', {now}
        FROM {rows: source text, id text, activity_id text} WHERE true
        ON CONFLICT (source, id) DO NOTHING RETURNING source, id""",
    "admit_dead": """
        SELECT i.source, i.id FROM inbox i JOIN {rows: source text, id text}
        ON i.source = r.source AND i.id = r.id WHERE i.outcome = 'dead'
        ORDER BY i.source, i.id {for update}""",
    "lock": f"""
        SELECT {LOCKED_COLUMNS} FROM activities WHERE activity_id {{in ids}}
        ORDER BY activity_id {{for update}}""",
    "see": """
        INSERT INTO activities (activity_id, seen_at)
        SELECT r.activity_id, {now} FROM {rows: activity_id text} WHERE true ORDER BY r.activity_id
        ON CONFLICT (activity_id) DO NOTHING""",
    "lock_cards": f"""
        SELECT {CARD_COLUMNS} FROM activities WHERE activity_id {{in ids}} AND state <> ''
        ORDER BY activity_id {{for update}}""",
    "unscheduled": f"""
        SELECT {LOCKED_COLUMNS} FROM activities
        WHERE (attempt_at IS NULL OR state = 'ended' AND due_at IS NULL)
          AND (behind_since IS NOT NULL OR suspect_at IS NOT NULL AND verdict = '') AND state <> ''
        ORDER BY seen_at LIMIT :limit {{skip locked}}""",
    "next_attempt": f"""
        SELECT min(later.at) - {{now}} FROM (
          SELECT (SELECT a.attempt_at FROM activities a WHERE a.appid = r.appid AND a.ending = e.ending
              AND a.attempt_at > {{now}} AND a.attempt_at <= {{now}} + :longest AND a.expires_at > {{now}}
              ORDER BY a.attempt_at LIMIT 1) AS at
            FROM {{rows: appid text}} JOIN gates g ON g.appid = r.appid AND NOT {CLOSED}
            CROSS JOIN (SELECT true AS ending UNION ALL SELECT false) e
          UNION ALL
          SELECT g.closed_until FROM gates g WHERE {CLOSED} AND g.appid {{in ids}}) later""",
    "members": """
        SELECT m.activity_id, m.group_openid, m.state, m.late, m.done_at
        FROM {rows: activity_id text, group_openid text}
        JOIN members m ON m.activity_id = r.activity_id AND m.group_openid = r.group_openid""",
    "all_members": """
        SELECT activity_id, group_openid, state, late, done_at FROM members WHERE activity_id {in ids}""",
    "owed": f"""
        SELECT activity_id, group_openid, doubtful FROM members WHERE activity_id {{in ids}} AND {OWED}
        ORDER BY activity_id, done_at, group_openid""",
    "skipped": """
        SELECT activity_id, group_openid FROM members WHERE activity_id {in ids} AND delivered = 2
        ORDER BY activity_id, group_openid""",
    "waiting": """
        SELECT source, id, {octets of record} FROM parked
        WHERE activity_id {in ids} AND parked_at <= :before ORDER BY seq LIMIT :limit""",
    "count_parked": """
        SELECT activity_id, count(*), sum({octets of record}) FROM parked
        WHERE activity_id {in ids} GROUP BY activity_id""",
    "parked": """
        SELECT p.activity_id, p.source, p.id, p.parked_at, p.record FROM {rows: source text, id text}
        JOIN parked p ON p.source = r.source AND p.id = r.id ORDER BY p.seq""",
    "stale_parked": """
        SELECT activity_id FROM activities WHERE state = ''
          AND activity_id IN (SELECT activity_id FROM parked WHERE parked_at <= :before)
        ORDER BY activity_id LIMIT :limit {skip locked}""",
    "gates": f"{GATES} WHERE appid {{in ids}}",
    "lock_gates": f"{GATES} WHERE appid {{in ids}} ORDER BY appid {{for update}}",
    "lock_gates_free": f"{GATES} WHERE appid {{in ids}} ORDER BY appid {{skip locked}}",
    "all_gates": f"{GATES} ORDER BY appid",
    "gate": f"SELECT {GATE_COLUMNS}, {{clock}} FROM (SELECT 1) one LEFT JOIN gates ON appid = :appid",
    "outcomes": """
        UPDATE inbox SET outcome = r.outcome, reason = r.reason
        FROM {rows: source text, id text, outcome text, reason text}
        WHERE inbox.source = r.source AND inbox.id = r.id""",
    "announced": """
        UPDATE activities SET appid = r.appid, title = r.title, expires_at = r.expires_at,
          opengid = r.opengid, open_single_roomid = r.open_single_roomid
        FROM {rows: activity_id text, appid text, title text, expires_at bigint, opengid text,
          open_single_roomid text}
        WHERE activities.activity_id = r.activity_id AND activities.state = ''""",
    "opened": """
        UPDATE activities SET appid = r.appid, template = r.template, version = r.version, title = r.title,
          publisher = r.publisher, opengid = r.opengid, open_single_roomid = r.open_single_roomid,
          opened_at = {now}
        FROM {rows: activity_id text, appid text, template text, version text, title text, publisher text,
          opengid text, open_single_roomid text}
        WHERE activities.activity_id = r.activity_id""",
    "activities": f"""
        UPDATE activities SET state = r.state, reason = r.reason, choose = r.choose,
          close_when_complete = r.close_when_complete, deadline = r.deadline, notice = r.notice,
          expires_at = r.expires_at, ended_at = r.ended_at, end_known_at = r.end_known_at,
          rescheduled_at = r.rescheduled_at, participants = r.participants, done = r.done,
          revision = r.revision, opened_digest = r.opened_digest, expiry_warned = r.expiry_warned,
          continued_by = r.continued_by, due_at = r.due_at, {WRITE_DELIVERY}
        FROM {{rows: activity_id text, state text, reason text, choose text, close_when_complete boolean,
          deadline bigint, notice bigint, expires_at bigint, ended_at bigint, end_known_at bigint,
          rescheduled_at bigint, participants bigint, done bigint, revision bigint, opened_digest text,
          expiry_warned boolean, continued_by text, due_at bigint, {DELIVERY_ROWS}}}
        WHERE activities.activity_id = r.activity_id""",
    "progress": """
        UPDATE activities SET done = r.done, revision = r.revision, retry_at = r.retry_at,
          attempt_at = r.attempt_at, behind_since = r.behind_since
        FROM {rows: activity_id text, done bigint, revision bigint, retry_at bigint, attempt_at bigint,
          behind_since bigint}
        WHERE activities.activity_id = r.activity_id""",
    "upsert_members": """
        INSERT INTO members (activity_id, group_openid, state, late, done_at)
        SELECT r.activity_id, r.group_openid, r.state, r.late, r.done_at
        FROM {rows: activity_id text, group_openid text, state text, late boolean, done_at bigint} WHERE true
        ON CONFLICT (activity_id, group_openid)
        DO UPDATE SET state = excluded.state, late = excluded.late, done_at = excluded.done_at""",
    "cards": f"""
        UPDATE activities SET revision = r.revision, {WRITE_DELIVERY}
        FROM {{rows: activity_id text, revision bigint, {DELIVERY_ROWS}}}
        WHERE activities.activity_id = r.activity_id""",
    "marks": """
        UPDATE members SET delivered = r.delivered, doubtful = r.doubtful
        FROM {rows: activity_id text, group_openid text, delivered bigint, doubtful boolean}
        WHERE members.activity_id = r.activity_id AND members.group_openid = r.group_openid""",
    "park": """
        INSERT INTO parked (activity_id, source, id, parked_at, record)
        SELECT r.activity_id, r.source, r.id, r.parked_at, r.record
        FROM {rows: activity_id text, source text, id text, parked_at bigint, record text} WHERE true""",
    "unpark": """
        DELETE FROM parked WHERE (source, id) IN (SELECT r.source, r.id FROM {rows: source text, id text})""",
    "outbox": """
        INSERT INTO outbox (activity_id, topic, id, body, shard, created_at)
        SELECT r.activity_id, r.topic, r.id, r.body, r.shard, r.created_at
        FROM {rows: activity_id text, topic text, id text, body text, shard bigint, created_at bigint}
        WHERE true""",
    "attempts": """
        INSERT INTO attempts (activity_id, revision, fence, at, duration, target_state, members, outcome,
          errcode, errmsg, rid)
        SELECT r.activity_id, r.revision, r.fence, r.at, r.duration, r.target_state, r.members, r.outcome,
          r.errcode, r.errmsg, r.rid
        FROM {rows: activity_id text, revision bigint, fence bigint, at bigint, duration bigint,
          target_state bigint, members bigint, outcome text, errcode bigint, errmsg text, rid text}
        WHERE true""",
    "write_gates": """
        INSERT INTO gates (appid, closed_until, closed_at, reason, errcode, errmsg, generation, wait)
        SELECT r.appid, r.closed_until, r.closed_at, r.reason, r.errcode, r.errmsg, r.generation, r.wait
        FROM {rows: appid text, closed_until bigint, closed_at bigint, reason text, errcode bigint,
          errmsg text, generation bigint, wait bigint}
        WHERE true ON CONFLICT (appid) DO UPDATE SET closed_until = excluded.closed_until,
          closed_at = excluded.closed_at, reason = excluded.reason, errcode = excluded.errcode,
          errmsg = excluded.errmsg, generation = excluded.generation, wait = excluded.wait""",
    "apps": """
        INSERT INTO gates (appid) SELECT r.appid FROM {rows: appid text} WHERE true
        ON CONFLICT (appid) DO NOTHING""",
    "counters": """
        INSERT INTO counters (slot, name, value)
        SELECT r.slot, r.name, r.value FROM {rows: slot bigint, name text, value bigint} WHERE true
        ON CONFLICT (slot, name) DO UPDATE SET value = counters.value + excluded.value""",
}
