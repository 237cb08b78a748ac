"""Away with the indexes that only the first release reads; it would still be right, but slow."""

from services.store.migrations.online import drop_index

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop them."""
    for name in ("activities_behind", "activities_behind_expiry"):
        drop_index(name)
