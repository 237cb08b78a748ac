"""Whether it was told that an activity's id is about to die, and which activity continues it.

The release before neither reads nor writes them. What it opened, or moved last, has a `due_at` that knows
nothing of the former: such an activity is told when its next timer fires, if it is still open then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    warned = sa.Column("expiry_warned", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("activities", warned)
    op.add_column("activities", sa.Column("continued_by", sa.Text, nullable=True))
