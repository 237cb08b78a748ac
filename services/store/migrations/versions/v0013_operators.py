"""What operators did, and their jobs; until when an app's quota is kept for ends.

The release before neither reads nor writes them.
"""

import sqlalchemy as sa
from alembic import op

from services.store.migrations.online import create_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = (
    (
        "actions",
        """
        {seq}, at bigint NOT NULL, who text NOT NULL, what text NOT NULL, appid text NOT NULL,
        about text NOT NULL, why text NOT NULL, said text NOT NULL""",
    ),
    # `place`: the last activity_id that was looked at. `filter`: JSON.
    (
        "jobs",
        """
        {seq}, id text NOT NULL UNIQUE, kind text NOT NULL, filter text NOT NULL, who text NOT NULL,
        why text NOT NULL, state text NOT NULL, estimate bigint NOT NULL, done bigint NOT NULL,
        refused bigint NOT NULL, place text NOT NULL, begun_at bigint NOT NULL, moved_at bigint NOT NULL""",
    ),
)


def upgrade() -> None:
    """Add them. Few rows: neither is pruned."""
    postgres = op.get_bind().dialect.name == "postgresql"
    seq = (
        "seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        if postgres
        else "seq INTEGER PRIMARY KEY AUTOINCREMENT"
    )
    for name, columns in TABLES:
        op.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns.replace('{seq}', seq)})")
    create_index("actions_app", "actions (appid, seq)")
    op.add_column("gates", sa.Column("saving_until", sa.BigInteger, nullable=False, server_default="0"))
