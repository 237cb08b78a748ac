"""Partial indexes that a completion leaves alone, and what vacuum needs to keep up.

The first release's predicates name `revision`, which every completion changes, so that none was a
heap-only update. Whether a card is behind changes once a look: `behind_since` says so.
"""

from alembic import op

from services.store.migrations.online import create_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BEHIND = "(behind_since IS NOT NULL OR suspect_at IS NOT NULL)"
INDEXES = {
    "activities_ready": f"activities (appid, retry_at) WHERE {BEHIND}",
    "activities_stranded": f"activities (expires_at) WHERE state = 'ended' AND {BEHIND}",
}
STORAGE = {
    # Room on the page for the next versions of its rows.
    "activities": "fillfactor = 60",
    # Weeks of rows, from which the oldest are deleted all the time.
    "inbox": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1",
    "attempts": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1",
    # Long texts lie beside the table: they come and go with its rows.
    "outbox": "toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000",
    "parked": "toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000",
    # A few rows that every transaction updates: room for many versions of each.
    "counters": "fillfactor = 20",
    "gates": "fillfactor = 50",
    "relays": "fillfactor = 50",
    "relay_leases": "fillfactor = 20",
}


def upgrade() -> None:
    """Add; the release before goes on with its own indexes."""
    if op.get_bind().dialect.name == "postgresql":
        for table, parameters in STORAGE.items():
            op.execute(f"ALTER TABLE {table} SET ({parameters})")
    for name, on in INDEXES.items():
        create_index(name, on)
