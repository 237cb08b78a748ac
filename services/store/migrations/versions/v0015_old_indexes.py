"""Away with the indexes that only older releases read; they would still be right, but slow."""

from services.store.migrations.online import drop_index

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop them."""
    for name in (
        "activities_behind",
        "activities_behind_expiry",
        "activities_ready",
        "activities_stranded",
    ):
        drop_index(name)
