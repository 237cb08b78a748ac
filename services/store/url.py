"""The database's URL: what livecard speaks, told without its password."""

from __future__ import annotations

import inspect
import re
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from services.store.password import OPTION as PASSWORD_FILE
from services.store.ports import StoreUnavailable
from services.store.tls import OPTIONS

_SEVERAL: Final = re.compile(r"(postgresql\+asyncpg://(?:[^@/?]*@)?)([^@/?]*,[^@/?]*)(/[^?]*)?(?:\?(.*))?$")
_HOST: Final = re.compile(r"(\[[^\]]+\]|[^:/?#]+):\d+")
_PORT: Final = re.compile(r":\d+$")


def safe_url(url: str) -> str:
    """The URL without its password, for people and logs."""
    return parse_url(url).render_as_string(hide_password=True)


def parse_url(url: str) -> URL:
    """The URL in pieces. Raises `StoreUnavailable` for one that is not ours, or could not work."""
    try:
        parsed = _several_hosts(make_url(_hosts_as_options(url)))
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


def _hosts_as_options(url: str) -> str:
    """`//user@a:1,b:2/db`, as libpq takes it, as SQLAlchemy does: `//user@/db?host=a:1&host=b:2`."""
    found = _SEVERAL.match(url)
    if found is None:
        return url
    start, hosts, path, options = found.groups()
    named = "&".join(f"host={quote(each, safe=':[]')}" for each in hosts.split(","))
    return f"{start}{path or '/'}?{named}{'&' + options if options else ''}"


def _several_hosts(url: URL) -> URL:
    """`?host=a:1,b:2` and `?host=a,b&port=1,2`, as libpq takes them, as SQLAlchemy does: a host an option."""
    hosts = _listed(url, "host")
    if len(hosts) < 2:
        return url
    ports = _listed(url, "port")
    if len(ports) == 1:
        ports *= len(hosts)
    if ports and len(ports) != len(hosts):
        raise StoreUnavailable("LIVECARD_DATABASE names several hosts: give one port, or one for each")
    if ports:
        hosts = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
    hosts = [host if _PORT.search(host) else f"{host}:5432" for host in hosts]
    if wrong := [host for host in hosts if not _HOST.fullmatch(host)]:
        raise StoreUnavailable(f"LIVECARD_DATABASE: {wrong[0]} is no host:port")
    return url.difference_update_query(["port"]).update_query_dict({"host": tuple(hosts)})


def _listed(url: URL, name: str) -> list[str]:
    given = url.query.get(name, ())
    parts = [given] if isinstance(given, str) else given
    return [each for part in parts for each in part.split(",") if each]


def _unknown_options(url: URL) -> list[str]:
    """What stands behind the `?` though the driver would trip over it."""
    import asyncpg

    ours = {"prepared_statement_cache_size", PASSWORD_FILE} | OPTIONS
    known = inspect.signature(asyncpg.connect).parameters.keys() | ours
    return sorted(url.query.keys() - known)
