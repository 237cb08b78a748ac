"""The database's URL: what livecard speaks, told without its password."""

from __future__ import annotations

import inspect

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from services.store.ports import StoreUnavailable
from services.store.tls import OPTIONS


def safe_url(url: str) -> str:
    """The URL without its password, for people and logs."""
    return parse_url(url).render_as_string(hide_password=True)


def parse_url(url: str) -> URL:
    """The URL in pieces. Raises `StoreUnavailable` for one that is not ours, or could not work."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number; it may be a piece of a password
        raise StoreUnavailable("LIVECARD_DATABASE is not an SQLAlchemy URL") from None
    if parsed.drivername not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
        raise StoreUnavailable(
            f"LIVECARD_DATABASE begins with {parsed.drivername}://, but livecard speaks "
            "postgresql+asyncpg:// and sqlite+aiosqlite:///"
        )
    if parsed.get_backend_name() == "postgresql" and (unknown := _unknown_options(parsed)):
        raise StoreUnavailable(
            f"LIVECARD_DATABASE: the driver of PostgreSQL knows no option {', '.join(unknown)}"
        )
    if "password" in parsed.query:  # there it would be shown
        raise StoreUnavailable(
            "LIVECARD_DATABASE: write the password as postgresql+asyncpg://user:password@…"
        )
    return parsed


def _unknown_options(url: URL) -> list[str]:
    """What stands behind the `?` though the driver would trip over it."""
    import asyncpg

    known = inspect.signature(asyncpg.connect).parameters.keys() | {"prepared_statement_cache_size"} | OPTIONS
    return sorted(url.query.keys() - known)
