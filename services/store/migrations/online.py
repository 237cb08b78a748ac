"""Indexes made and dropped while others read and write; each may be repeated after an interruption."""

from __future__ import annotations

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
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {on}")
        _as_before()


def drop_index(name: str) -> None:
    """`DROP INDEX name`, concurrently on PostgreSQL."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute(f"DROP INDEX IF EXISTS {name}")
        return
    with op.get_context().autocommit_block():
        _patiently()
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        _as_before()


def _patiently() -> None:
    """Nobody queues behind a concurrent build, and it must outwait every transaction that is open."""
    op.execute("SET lock_timeout = 0")
    op.execute("SET statement_timeout = 0")


def _as_before() -> None:
    op.execute("RESET lock_timeout")
    op.execute("RESET statement_timeout")
