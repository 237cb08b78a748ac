"""What the gateway answered under an `Idempotency-Key`."""

from alembic import op

from services.store.migrations.online import create_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table of its own. The rows come and go."""
    postgres = op.get_bind().dialect.name == "postgresql"
    storage = (
        " WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1)" if postgres else ""
    )
    op.execute(
        "CREATE TABLE IF NOT EXISTS requests (id text NOT NULL PRIMARY KEY, digest text NOT NULL, "
        f"owner text NOT NULL, status bigint, body text NOT NULL, started_at bigint NOT NULL){storage}"
    )
    create_index("requests_started", "requests (started_at)")
