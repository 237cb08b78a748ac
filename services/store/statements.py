"""Every statement of the transactions, by name. Macros: see `dialect`."""

from __future__ import annotations

from typing import Final

from services.store.requests import PRUNE_REQUESTS, REQUESTS
from services.store.sessions import PRUNE_SESSIONS
from services.store.upkeep import ANNOUNCED_AGE
from statemachine.gate import LONGEST
from statemachine.waits import CLOCK_STEP

ACTIVITY_COLUMNS: Final = (
    "activity_id, state, reason, choose, close_when_complete, deadline, notice, expires_at, ended_at, "
    "end_known_at, rescheduled_at, participants, done, revision, opened_digest, expiry_warned, continued_by"
)
"""In the order of `statemachine.model.Activity`'s fields."""

DELIVERY: Final = {
    "settled": ("bigint", "settled"),
    "shown": ("bigint", "shown"),
    "may_show": ("bigint", "{greatest}(may_show, shown, reached)"),
    "cannot_lower": ("boolean", "cannot_lower"),
    "throttled_until": ("bigint", "look_at"),
    "retry_at": ("bigint", "retry_at"),
    "attempts": ("bigint", "attempts"),
    "code_attempts": ("bigint", "code_attempts"),
    "fence": ("bigint", "fence"),
    "lease_until": ("bigint", "lease_until"),
    "lease_by": ("text", "lease_by"),
    "doubt_at": ("bigint", "suspect_at"),
    "verdict": ("text", "verdict"),
    "list_limit": ("bigint", "list_limit"),
    "singles": ("bigint", "singles"),
    "succeeded": ("boolean", "succeeded"),
    "end_by": ("bigint", "end_by"),
    "behind_since": ("bigint", "behind_since"),
    "progress_calls": ("bigint", "progress_calls"),
    "progress_members": ("text", "progress_members"),
}
"""The delivery's fields of `statemachine.card.Card`, in order: the type, and how the column is read.

Three columns still have the names of the release before, which reads and writes them too.
"""
_READ_DELIVERY: Final = ", ".join(read for _, read in DELIVERY.values())
CARD_COLUMNS: Final = f"activity_id, appid, template, version, state, revision, expires_at, {_READ_DELIVERY}"
"""In the order of `statemachine.card.Card`'s fields; progress_members is a JSON list."""
LOCKED_COLUMNS: Final = f"{ACTIVITY_COLUMNS}, appid, template, version, {_READ_DELIVERY}"
"""An activity and its card."""

_COLUMN: Final = {"may_show": "may_show", "throttled_until": "look_at", "doubt_at": "suspect_at"}
_FOR_THE_RELEASE_BEFORE: Final = """
          reached = CASE WHEN r.may_show < 2 THEN 1 ELSE 2 END,
          final = (r.verdict IN ('expired', 'continued')),
          settled_as = CASE r.verdict WHEN '' THEN 'delivered' WHEN 'expired' THEN 'expired' ELSE 'dead' END,
          failing_since = CASE WHEN r.may_show = 3 AND r.shown < 3 THEN 0 END"""
"""What only the release before reads: migration 0006 says when its columns go."""
_WRITE_DELIVERY: Final = (
    ", ".join(f"{_COLUMN.get(name, name)} = r.{name}" for name in DELIVERY)
    + ", attempt_at = r.attempt_at, ending = r.ending,"
    + _FOR_THE_RELEASE_BEFORE
)
_DELIVERY_ROWS: Final = (
    ", ".join(f"{name} {kind}" for name, (kind, _) in DELIVERY.items())
    + ", attempt_at bigint, ending boolean"
)

GATE_COLUMNS: Final = "appid, closed_until, closed_at, reason, errcode, errmsg, generation, wait"
"""In the order of `statemachine.gate.Gate`'s fields."""
_GATES: Final = f"SELECT {GATE_COLUMNS} FROM gates"

_LONGEST_CLOSING: Final = " ".join(
    (
        "CASE g.reason",
        *(f"WHEN '{reason}' THEN {wait + CLOCK_STEP}" for reason, wait in LONGEST.items()),
        "ELSE :closing END",
    )
)
_CLOSED: Final = f"(g.closed_until > {{now}} AND g.closed_until <= {{now}} + {_LONGEST_CLOSING})"
"""A gate, as `statemachine.gate.as_believed` has it; `:closing` is `DeliveryRules.longest_closing` and a step
of the clock."""

OWED: Final = "state = 'done' AND NOT late AND delivered = 0"

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
    "lock_due": f"""
        SELECT {LOCKED_COLUMNS} FROM activities WHERE due_at <= {{now}}
        ORDER BY due_at LIMIT :limit {{skip locked}}""",
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
            FROM {{rows: appid text}} JOIN gates g ON g.appid = r.appid AND NOT {_CLOSED}
            CROSS JOIN (SELECT true AS ending UNION ALL SELECT false) e
          UNION ALL
          SELECT g.closed_until FROM gates g WHERE {_CLOSED} AND g.appid {{in ids}}) later""",
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
    "gates": f"{_GATES} WHERE appid {{in ids}}",
    "lock_gates": f"{_GATES} WHERE appid {{in ids}} ORDER BY appid {{for update}}",
    "lock_gates_free": f"{_GATES} WHERE appid {{in ids}} ORDER BY appid {{skip locked}}",
    "all_gates": f"{_GATES} ORDER BY appid",
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
          continued_by = r.continued_by, due_at = r.due_at, {_WRITE_DELIVERY}
        FROM {{rows: activity_id text, state text, reason text, choose text, close_when_complete boolean,
          deadline bigint, notice bigint, expires_at bigint, ended_at bigint, end_known_at bigint,
          rescheduled_at bigint, participants bigint, done bigint, revision bigint, opened_digest text,
          expiry_warned boolean, continued_by text, due_at bigint, {_DELIVERY_ROWS}}}
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
        UPDATE activities SET revision = r.revision, {_WRITE_DELIVERY}
        FROM {{rows: activity_id text, revision bigint, {_DELIVERY_ROWS}}}
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

_ROOM: Final = """CASE WHEN g.reason IN ('token', 'misconfigured', 'blocked') THEN 1
            WHEN g.reason <> '' AND r.room > :narrow THEN :narrow ELSE r.room END"""
"""How many cards of an app a claim may take: one where a call has to find out whether the gate may open."""
_DUE: Final = """a.appid = r.appid AND a.ending = e.ending
              AND a.attempt_at > w.after AND a.attempt_at <= w.until AND a.expires_at > {now}
              AND NOT (a.lease_until > {now} AND a.lease_until <= {now} + :longest)"""
"""`lease_until` matters for the release before alone: it claims without moving `attempt_at`."""
_PROBES: Final = f"""{{rows: appid text, room bigint}}
          JOIN gates g ON g.appid = r.appid AND NOT {_CLOSED}
          CROSS JOIN (SELECT true AS ending UNION ALL SELECT false) e
          CROSS JOIN (SELECT false AS too_far, -1 AS after, {{now}} AS until
            UNION ALL SELECT true, {{now}} + :longest, {2**63 - 1}) w"""
_FIRST: Final = "ending DESC, {}too_far DESC, attempt_at"
_RANKED: Final = f"row_number() OVER (PARTITION BY appid ORDER BY {_FIRST.format('')}) AS turn"
_IN_TURN: Final = f"turn <= room ORDER BY {_FIRST.format('turn, ')} LIMIT :limit"

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
"""What is due: four looks into the index per app that is let in, ends first, then the apps in turn.

Due is what has been reached, and what lies further ahead than any wait (`:longest`, that is
`DeliveryRules.longest_wait` and a step of the clock): the other end of the same index.
"""

_CAP = 10_001


def _backlog(name: str, table: str, where: str, oldest: str, order: str) -> str:
    """A capped count and an age. Both in an index's order: the planner cannot know how few there are."""
    first = f"(SELECT {oldest} FROM {table} WHERE {where} ORDER BY {order} LIMIT 1)"
    return f"{_count(name, table, where, order)}, coalesce({{now}} - {first}, 0) AS {name}_age"


def _count(name: str, table: str, where: str, order: str) -> str:
    """A capped count."""
    rows = f"SELECT 1 FROM {table} WHERE {where} ORDER BY {order} LIMIT {_CAP}"
    return f"(SELECT count(*) FROM ({rows}) AS {name}_some) AS {name}"


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
