"""TLS to PostgreSQL as libpq names it in the URL: `?sslmode=verify-full&sslrootcert=/etc/ca.pem`."""

from __future__ import annotations

import ssl
from typing import Any, Final

from sqlalchemy import URL

from services.runtime.tls import Files, TlsError, client_context
from services.store.ports import StoreUnavailable

OPTIONS: Final = frozenset({"ssl", "sslmode", "sslrootcert", "sslcert", "sslkey"})
"""What may stand behind the `?`; `ssl` is the driver's name for `sslmode`."""
_UNCHECKED: Final = ("disable", "allow", "prefer")
_MODES: Final = (*_UNCHECKED, "require", "verify-ca", "verify-full")


def with_tls(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without these options, and what the driver is given instead. Raises `StoreUnavailable`.

    `require` only encrypts (with `sslrootcert` it is `verify-ca`, as in libpq); `verify-full` also proves
    that it is our server. Without `sslrootcert` the system's authorities count. Nothing said: `prefer`,
    which takes TLS where the server offers it and believes any certificate.
    """
    given = {name: str(url.query[name]) for name in OPTIONS & url.query.keys()}
    plain = url.difference_update_query(list(OPTIONS))
    if not given:
        return plain, {}
    mode = given.get("sslmode", given.get("ssl", ""))
    if mode != given.get("ssl", mode):
        raise StoreUnavailable("LIVECARD_DATABASE says ssl and sslmode, which are the same: leave one out")
    files = sorted(given.keys() - {"ssl", "sslmode"})
    if mode and mode not in _MODES:
        raise StoreUnavailable(f"LIVECARD_DATABASE: sslmode is one of {', '.join(_MODES)}")
    if mode in ("", *_UNCHECKED):
        if files:
            raise StoreUnavailable(f"LIVECARD_DATABASE: {files[0]} is of no use without sslmode=verify-full")
        return plain, {"ssl": mode}
    return plain, {"ssl": _context(mode, given)}


def _context(mode: str, given: dict[str, str]) -> ssl.SSLContext:
    authorities, where = given.get("sslrootcert", ""), "LIVECARD_DATABASE: "
    names = (f"{where}sslrootcert", f"{where}sslcert", f"{where}sslkey")
    files = Files(authorities, given.get("sslcert", ""), given.get("sslkey", ""), names)
    try:
        context = client_context(files)
    except TlsError as error:
        raise StoreUnavailable(str(error)) from None
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not authorities:
        context.verify_mode = ssl.CERT_NONE
    return context
