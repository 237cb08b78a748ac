"""Run by alembic with the connection that `services.store.open.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection, text

ADVISORY_LOCK = 0x6C697665
"""`live`: two processes that migrate at once take turns."""

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    context.run_migrations()
