"""When a card wants a dispatcher, as one column, and what the delivery's table and the gates' rules need.

The release before, 0.1.0, goes on with its own columns. This one shares with it:

- `look_at` and `suspect_at`, under their old names (`throttled_until` and `doubt_at` in the code);
- `reached`, which 0.1.0 writes alone: here it is written beside `may_show`, and the greater one is read;
- `settled_as` and `final`, which are written for it and never read here;
- `code_revision`, which it alone reads and writes.

`failing_since` (0004) is written, too, for builds between the two releases: 0.1.0 does not know it. Once none
of these runs any more, `settled_as`, `final`, `code_revision` and `failing_since` can go, and `reached`, when
`may_show` has taken its value over; the shared columns then get the names that the code has for them.
`end_known_at` stays: it is a field of an activity.
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
    # What the release before raised, doubted or ended (it knows of no expiry in `due_at`): hardly ever a row.
    "activities_unscheduled": (
        "activities (seen_at) WHERE (attempt_at IS NULL OR state = 'ended' AND due_at IS NULL)"
        " AND (behind_since IS NOT NULL OR suspect_at IS NOT NULL AND verdict = '') AND state <> ''"
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
