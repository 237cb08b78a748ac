"""Sessions, bindings, and people who wait for their binding."""

from alembic import op

from services.store.migrations.online import create_index

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

QUEUE = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0"
)
"""Rows that come and go, as those of `parked` do."""

TABLES = (
    # `id` is the SHA-256 of the session, in hex; `session_key` is sealed, and says by which key.
    (
        "sessions",
        QUEUE,
        """
        id text NOT NULL PRIMARY KEY, appid text NOT NULL, openid text NOT NULL, unionid text,
        session_key text NOT NULL, created_at bigint NOT NULL, expires_at bigint NOT NULL""",
    ),
    # Without a `group_openid` it was made on first sight, at `bound_at`: both sides lock it.
    (
        "bindings",
        "",
        """
        appid text NOT NULL, room_id text NOT NULL, openid text NOT NULL,
        single boolean NOT NULL DEFAULT false, group_openid text NOT NULL DEFAULT '',
        nickname text, avatar_url text, bound_at bigint NOT NULL, PRIMARY KEY (appid, room_id, openid)""",
    ),
    # One person whom one event names, in the order in which a binding looks for them.
    (
        "unbound",
        QUEUE,
        """
        appid text NOT NULL, room_id text NOT NULL, openid text NOT NULL, activity_id text NOT NULL,
        source text NOT NULL, id text NOT NULL, type text NOT NULL, time bigint NOT NULL,
        since bigint NOT NULL, PRIMARY KEY (appid, room_id, openid, activity_id, source, id)""",
    ),
)
INDEXES = {
    "sessions_expiry": "sessions (expires_at)",
    "bindings_members": "bindings (appid, room_id, group_openid, openid) WHERE group_openid <> ''",
    "bindings_age": "bindings (bound_at)",
    "unbound_activity": "unbound (activity_id)",
    "unbound_since": "unbound (since)",
}


def upgrade() -> None:
    """Add them."""
    postgres = op.get_bind().dialect.name == "postgresql"
    for name, storage, columns in TABLES:
        parameters = f" WITH ({storage})" if postgres and storage else ""
        op.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}){parameters}")
    for name, on in INDEXES.items():
        create_index(name, on)
