"""Whose delivery is not finished, by app and age: what the API lists to operators.

Its columns are those that change when a card wants a dispatcher anew, so a burst of completions touches it
no more than the indexes that are there. Without it the list is right, and slow.
"""

from services.store.migrations.online import create_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CAUSE = "coalesce(behind_since, CASE WHEN verdict <> '' THEN retry_at ELSE suspect_at END)"
SINCE = f"CASE WHEN suspect_at < {CAUSE} THEN suspect_at ELSE {CAUSE} END"
NOT_IN_SYNC = (
    "(behind_since IS NOT NULL OR suspect_at IS NOT NULL OR verdict <> '')"
    " AND verdict NOT IN ('expired', 'continued')"
)


def upgrade() -> None:
    """Add it."""
    create_index("activities_not_in_sync", f"activities (appid, ({SINCE}), activity_id) WHERE {NOT_IN_SYNC}")
