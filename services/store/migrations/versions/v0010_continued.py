"""Whether it was told that an activity's id is about to die.

The release before neither reads nor writes it. What it opened, or moved last, has a `due_at` that knows
nothing of it: such an activity is told when its next timer fires, if it is still open then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    warned = sa.Column("expiry_warned", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("activities", warned)
