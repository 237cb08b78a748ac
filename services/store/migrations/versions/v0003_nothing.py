"""Nothing: what this took away once is taken away by 0005, after everything that is added."""

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Databases that were here before 0004 was written go on from here."""
