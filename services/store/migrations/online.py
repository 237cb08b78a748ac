"""Indexes made and dropped while others read and write; each may be repeated after an interruption."""

from __future__ import annotations

from typing import Any

from alembic import op


def create_index(name: str, on: str) -> None:
    """`CREATE INDEX name ON on`, concurrently on PostgreSQL; one left unfinished is made anew."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")
        return
    with op.get_context().autocommit_block():
        _patiently()
        unfinished = (
            op.get_bind()
            .exec_driver_sql(
                f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid"
            )
            .first()
        )
        if unfinished:
            _alone(f"DROP INDEX CONCURRENTLY {name}")
        _alone(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {on}")
        _as_before()


def drop_index(name: str) -> None:
    """`DROP INDEX name`, concurrently on PostgreSQL."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute(f"DROP INDEX IF EXISTS {name}")
        return
    with op.get_context().autocommit_block():
        _patiently()
        _alone(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        _as_before()


def _patiently() -> None:
    """Nobody queues behind a concurrent build, and it must outwait every transaction that is open."""
    _alone("SET lock_timeout = 0")
    _alone("SET statement_timeout = 0")


def _as_before() -> None:
    _alone("RESET lock_timeout")
    _alone("RESET statement_timeout")


def _alone(statement: str) -> None:
    """Outside a transaction, in one message: a pooler may cut in two what is prepared first."""
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(statement))
