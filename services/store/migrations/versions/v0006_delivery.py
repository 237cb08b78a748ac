"""When a card wants a dispatcher, as one column, and what the delivery's table and the gates' rules need.

The release before goes on with its own columns: `look_at`, `suspect_at` and `reached` are shared under their
old names; `settled_as`, `final`, `failing_since`, `code_revision` and `end_known_at` are only written for it.
A release later these five go, and the three get the names that the code has for them.
"""

import sqlalchemy as sa
from alembic import op

from services.store.migrations.online import create_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES = {
    "activities_attempt": "activities (appid, ending, attempt_at) WHERE attempt_at IS NOT NULL",
    # What the release before raised, doubted or ended: hardly ever a row.
    "activities_unscheduled": (
        "activities (activity_id) WHERE (attempt_at IS NULL OR state = 'ended' AND due_at IS NULL)"
        " AND state <> '' AND (behind_since IS NOT NULL OR suspect_at IS NOT NULL AND verdict = '')"
    ),
}


def upgrade() -> None:
    """Add. Cards that are undelivered get their `attempt_at` from the first dispatcher's poll.

    An end that may have been called lets no member follow it; the release before marks that by 0.
    """
    op.add_column("activities", sa.Column("may_show", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("activities", sa.Column("end_by", sa.BigInteger))
    op.add_column("activities", sa.Column("attempt_at", sa.BigInteger))
    op.add_column("activities", sa.Column("ending", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("gates", sa.Column("generation", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("gates", sa.Column("wait", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        "UPDATE activities SET may_show = 3 WHERE state = 'ended' AND failing_since = 0 "
        "AND (behind_since IS NOT NULL OR suspect_at IS NOT NULL)"
    )
    for name, on in INDEXES.items():
        create_index(name, on)
