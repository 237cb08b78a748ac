"""Nothing: what this took away once is taken away by 0015, after everything that is added."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Databases that were here before 0013 was written go on from here."""
