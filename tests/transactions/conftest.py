"""The transactions are asked on every engine, as the store is."""

from tests.store.conftest import bench, migrated_postgres, migrated_sqlite, postgres, scene

__all__ = ["bench", "migrated_postgres", "migrated_sqlite", "postgres", "scene"]
