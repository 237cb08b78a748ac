"""The driver of PostgreSQL is kept out of home folders: only what a setting names is read.

asyncpg looks for `~/.postgresql/postgresql.key`, `~/.pgpass` and `~/.pg_service.conf`, as libpq does, but
dies where it may not look: under an arbitrary user id whose HOME is somebody else's
(https://github.com/MagicStack/asyncpg/issues/910). Files that libpq's variables name (`PGPASSFILE`) are still
read. This file goes when that issue is closed and the driver can be told to stay out.
"""

from __future__ import annotations

import getpass
import os

from sqlalchemy import URL

from services.store.ports import StoreUnavailable


def stay_out() -> None:
    """Tell the driver that there is no home. Safe to repeat."""
    from asyncpg import compat, connect_utils

    compat.get_pg_home_directory = lambda: None
    connect_utils._dot_postgresql_path = lambda _name: None  # noqa: SLF001  # nothing public says so


def check_user(url: URL) -> None:
    """Raise `StoreUnavailable` where the URL names no user and ours has no name, as in many a container."""
    if url.username or "user" in url.query or os.environ.get("PGUSER"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise StoreUnavailable(
            "LIVECARD_DATABASE names no user, and this process runs as one without a name: write "
            "postgresql+asyncpg://USER@HOST/DATABASE"
        ) from None
