"""Nothing: what this took away once is taken away by 0015, after everything that is added."""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Databases that were here before 0006 was written go on from here."""
