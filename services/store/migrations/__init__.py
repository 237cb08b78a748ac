"""Alembic's migrations: add first, remove a release later (design.md §5)."""
