"""Since when WeChat takes none of a card's calls: how long its end has waited for members."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column without a default: the release before does not see it.

    Where it may have called an end nobody is waited for again (`statemachine.plan.GONE`): few rows, indexed.
    The release before marks none, so an end that it calls in doubt while both run may be followed by members.
    """
    op.add_column("activities", sa.Column("failing_since", sa.BigInteger))
    op.execute(
        "UPDATE activities SET failing_since = 0 "
        "WHERE state = 'ended' AND shown < 3 AND suspect_at >= end_known_at "
        "AND (attempts > 0 OR verdict <> '')"
    )
