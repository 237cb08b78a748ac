"""Every table of the first release."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

HOT = "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1"
"""Rows that are updated all the time: room on the page, and vacuum before it is needed."""
QUEUE = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0"
)
"""Rows that come and go: dead entries at the head of the index slow every read."""

TABLES = (
    (
        "inbox",
        "autovacuum_vacuum_insert_scale_factor = 0.2",
        """
        source text NOT NULL, id text NOT NULL, activity_id text NOT NULL, outcome text NOT NULL,
        reason text NOT NULL, received_at bigint NOT NULL, PRIMARY KEY (source, id)""",
    ),
    (
        "activities",
        HOT,
        """
        activity_id text NOT NULL PRIMARY KEY, state text NOT NULL DEFAULT '',
        reason text NOT NULL DEFAULT '',
        choose text NOT NULL DEFAULT 'listed', close_when_complete boolean NOT NULL DEFAULT false,
        deadline bigint, notice bigint NOT NULL DEFAULT 0, expires_at bigint NOT NULL DEFAULT 0,
        ended_at bigint, end_known_at bigint, rescheduled_at bigint,
        participants bigint NOT NULL DEFAULT 0, done bigint NOT NULL DEFAULT 0,
        revision bigint NOT NULL DEFAULT 0, opened_digest text NOT NULL DEFAULT '', due_at bigint,
        appid text NOT NULL DEFAULT '', template text NOT NULL DEFAULT '', version text NOT NULL DEFAULT '',
        title text NOT NULL DEFAULT '', publisher text, opengid text, open_single_roomid text,
        seen_at bigint NOT NULL, opened_at bigint,
        settled bigint NOT NULL DEFAULT 0, settled_as text NOT NULL DEFAULT 'delivered',
        shown bigint NOT NULL DEFAULT 1, reached bigint NOT NULL DEFAULT 1,
        cannot_lower boolean NOT NULL DEFAULT false,
        look_at bigint NOT NULL DEFAULT 0, retry_at bigint NOT NULL DEFAULT 0,
        attempts bigint NOT NULL DEFAULT 0, code_attempts bigint NOT NULL DEFAULT 0,
        code_revision bigint NOT NULL DEFAULT 0, fence bigint NOT NULL DEFAULT 0,
        lease_until bigint NOT NULL DEFAULT 0, lease_by text NOT NULL DEFAULT '', suspect_at bigint,
        verdict text NOT NULL DEFAULT '', final boolean NOT NULL DEFAULT false,
        list_limit bigint NOT NULL DEFAULT 0, singles bigint NOT NULL DEFAULT 0,
        succeeded boolean NOT NULL DEFAULT false, progress_calls bigint NOT NULL DEFAULT 0,
        progress_members text NOT NULL DEFAULT '', behind_since bigint""",
    ),
    (
        "members",
        HOT,
        """
        activity_id text NOT NULL, group_openid text NOT NULL, state text NOT NULL, late boolean NOT NULL,
        done_at bigint, delivered bigint NOT NULL DEFAULT 0, doubtful boolean NOT NULL DEFAULT false,
        PRIMARY KEY (activity_id, group_openid)""",
    ),
    (
        "parked",
        QUEUE,
        """
        {seq}, activity_id text NOT NULL, source text NOT NULL, id text NOT NULL, parked_at bigint NOT NULL,
        record text NOT NULL""",
    ),
    (
        "outbox",
        QUEUE,
        """
        {seq}, activity_id text NOT NULL, topic text NOT NULL, id text NOT NULL, body text NOT NULL,
        shard bigint NOT NULL, created_at bigint NOT NULL""",
    ),
    (
        "attempts",
        "",
        """
        {seq}, activity_id text NOT NULL, revision bigint NOT NULL, fence bigint NOT NULL, at bigint NOT NULL,
        duration bigint NOT NULL, target_state bigint NOT NULL, members bigint NOT NULL,
        outcome text NOT NULL,
        errcode bigint, errmsg text NOT NULL, rid text NOT NULL""",
    ),
    (
        "gates",
        "",
        """
        appid text NOT NULL PRIMARY KEY, closed_until bigint NOT NULL DEFAULT 0,
        closed_at bigint NOT NULL DEFAULT 0, reason text NOT NULL DEFAULT '',
        errcode bigint NOT NULL DEFAULT 0,
        errmsg text NOT NULL DEFAULT ''""",
    ),
    (
        "counters",
        HOT,
        "slot bigint NOT NULL, name text NOT NULL, value bigint NOT NULL, PRIMARY KEY (slot, name)",
    ),
    ("relays", HOT, "owner text NOT NULL PRIMARY KEY, until bigint NOT NULL"),
    ("relay_leases", HOT, "shard bigint NOT NULL PRIMARY KEY, owner text NOT NULL, until bigint NOT NULL"),
)

BEHIND = "(revision > settled OR suspect_at IS NOT NULL)"
INDEXES = (
    "inbox_received ON inbox (received_at)",
    "activities_due ON activities (due_at) WHERE due_at IS NOT NULL",
    f"activities_behind ON activities (appid, retry_at) WHERE {BEHIND}",
    # Only of ended ones, so that completions of open activities touch neither of these two.
    f"activities_behind_expiry ON activities (expires_at) WHERE state = 'ended' AND {BEHIND}",
    "activities_behind_since ON activities (behind_since) WHERE behind_since IS NOT NULL",
    "activities_expiry ON activities (expires_at) WHERE state = 'ended'",
    "activities_unopened ON activities (seen_at) WHERE state = ''",
    "members_owed ON members (activity_id) WHERE state = 'done' AND NOT late AND delivered = 0",
    "parked_activity ON parked (activity_id)",
    "parked_since ON parked (parked_at)",
    "parked_key ON parked (source, id)",
    "outbox_shard ON outbox (shard, seq)",
    "attempts_activity ON attempts (activity_id, seq)",
    "attempts_at ON attempts (at)",
)
SHARDS = 16


def upgrade() -> None:
    """Make everything."""
    postgres = op.get_bind().dialect.name == "postgresql"
    seq = (
        "seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        if postgres
        else "seq INTEGER PRIMARY KEY AUTOINCREMENT"
    )
    for name, storage, columns in TABLES:
        parameters = f" WITH ({storage})" if postgres and storage else ""
        op.execute(f"CREATE TABLE {name} ({columns.replace('{seq}', seq)}){parameters}")
    for index in INDEXES:
        op.execute(f"CREATE INDEX {index}")
    for shard in range(SHARDS):
        op.execute(f"INSERT INTO relay_leases (shard, owner, until) VALUES ({shard}, '', 0)")
