"""Nothing: what this took away once is taken away by 0015, after everything that is added."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Databases that were here before 0008 was written go on from here."""
