"""The database's password out of a file that the URL names, `?passwordfile=/run/secrets/db`: each connection
asks for it anew, so a changed one needs no restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import URL

from services.runtime.secret_file import SecretFileError, SecretText
from services.store.ports import StoreUnavailable

OPTION: Final = "passwordfile"


def with_password(url: URL) -> tuple[URL, Callable[[], Mapping[str, Any]]]:
    """The URL without the option, and what the driver is given for each connection. Raises
    `StoreUnavailable`."""
    path = url.query.get(OPTION)
    if path is None:
        return url, dict
    if url.password is not None:
        raise StoreUnavailable(f"LIVECARD_DATABASE holds a password and names a {OPTION}: leave one out")
    try:
        secret = SecretText(path=str(path), setting=f"LIVECARD_DATABASE: {OPTION}")
    except SecretFileError as error:
        raise StoreUnavailable(str(error)) from None
    return url.difference_update_query([OPTION]), lambda: {"password": str(secret.value())}
