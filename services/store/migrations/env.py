"""Run by alembic with the connection that `services.store.migrating` hands over."""

from alembic import context
from sqlalchemy import Connection, event

LOCK_TIMEOUT = "2s"
"""How long a change of the schema may stand in the queue for a table, with every writer behind it."""

connection: Connection = context.config.attributes["connection"]
postgres = connection.dialect.name == "postgresql"
context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=postgres)


def patient(begun: Connection) -> None:
    """At the start of each transaction: short in queues, as long as it takes in work."""
    begun.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    begun.exec_driver_sql("SET LOCAL statement_timeout = 0")


if postgres:
    event.listen(connection, "begin", patient)
try:
    with context.begin_transaction():
        context.run_migrations()
finally:
    if postgres:
        event.remove(connection, "begin", patient)
