"""Since when WeChat takes none of a card's calls: how long its end has waited for members."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column without a default: no row is written, and the release before does not see it."""
    op.add_column("activities", sa.Column("failing_since", sa.BigInteger))
