"""Library errors become ours, once, at the edge (design.md §5)."""

from __future__ import annotations

import contextlib
import sqlite3
import ssl
from collections.abc import Iterator
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.store.ports import StoreLost, StoreRejected, StoreUnavailable
from services.store.primary import READ_ONLY

UNMIGRATED: Final = "the database is not migrated, or by another release: run `livecard init`"
NEWER: Final = "the database was migrated by a newer release than this one"


def wrong_encoding(encoding: str) -> str:
    """What is said of a database in which Chinese has no place."""
    return (
        f"the database's encoding is {encoding}, and livecard needs UTF8. Make one that has it: "
        "CREATE DATABASE livecard ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )


_DATA_CLASSES: Final = ("22", "23", "54")
"""SQLSTATE classes of data exceptions, integrity violations and exceeded limits."""
_LOST: Final = ("57P01", "57P02", "57P03", "08")
"""SQLSTATE of a server that shuts down, crashed or starts, and the class of connections that broke."""
_MISSING: Final = ("42P01", "42703", "3F000")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `StoreRejected` for what the data is to blame for, else `StoreUnavailable`."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(error.orig, at_work=error.statement is not None) from error.orig
    except asyncpg.PostgresError as error:
        raise _translate(error, at_work=True) from error
    except asyncpg.InterfaceError as error:  # the connection is gone, or a value is of a wrong kind
        raise _translate(error, at_work=isinstance(error, ValueError)) from error
    except UnicodeEncodeError as error:
        raise StoreRejected(f"a text that has no UTF-8: {error.reason}") from error
    except PoolTimeout:
        raise StoreUnavailable("no connection to the database came free in time") from None
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the database did not answer as it should: {type(error).__name__}") from error
    except ssl.SSLCertVerificationError as error:
        raise StoreUnavailable(_not_ours(error)) from error
    except (OSError, TimeoutError) as error:
        raise StoreUnavailable(f"the database cannot be reached: {_brief(error)}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"SQLite: {_brief(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("asyncpg"):
            raise StoreUnavailable(f"PostgreSQL: {_brief(error)}") from error
        raise


def _not_ours(error: ssl.SSLCertVerificationError) -> str:
    return (
        f"the database's certificate is not accepted: {error.verify_message.rstrip('.')} (sslmode and "
        "sslrootcert in LIVECARD_DATABASE say which are)"
    )


def _translate(original: BaseException | None, *, at_work: bool) -> StoreUnavailable | StoreRejected:
    """`at_work`: a statement failed; else it was connecting or committing, so no data is to blame."""
    state = getattr(original, "sqlstate", None) or ""
    text = _brief(original)
    if state in _MISSING or "no such table" in text or "no such column" in text:
        return StoreUnavailable(UNMIGRATED)
    if state == "25006":
        return StoreLost(READ_ONLY)
    if not at_work:
        return StoreUnavailable(f"the database cannot be reached: {text}" + (f" ({state})" if state else ""))
    if state[:2] in _DATA_CLASSES:
        return StoreRejected(f"PostgreSQL {state}: {text}")
    if isinstance(original, sqlite3.IntegrityError | sqlite3.DataError) or "too big" in text:
        return StoreRejected(f"SQLite: {text}")
    if _is_encoding_error(original, text):
        return StoreRejected(text)
    kind = StoreLost if state.startswith(_LOST) else StoreUnavailable
    return kind(f"the database failed: {text}" + (f" ({state})" if state else ""))


def _is_encoding_error(original: BaseException | None, text: str) -> bool:
    """asyncpg refuses a value of the wrong type or range before it is sent."""
    return isinstance(getattr(original, "__cause__", None), ValueError | OverflowError | TypeError) or (
        "invalid input for query argument" in text
    )


def _brief(error: BaseException | None) -> str:
    """One line without the statement, its parameters or an URL."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:300]
