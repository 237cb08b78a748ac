"""The index by which a clock finds what is due of each app, so that no app waits for all timers of another.

The release before goes on with `activities_due`, which tells this one when the next timer of all is due.
"""

from services.store.migrations.online import create_index

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    create_index("activities_due_of_app", "activities (appid, due_at) WHERE due_at IS NOT NULL")
