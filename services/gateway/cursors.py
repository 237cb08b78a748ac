"""Cursors: where the next page of a list begins. Opaque, url-safe, and of one list alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar.params import QueryParameter

from services.gateway.problems import Problem, unprocessable

T = TypeVar("T")

LARGEST_PAGE: Final = 500
Limit = Annotated[
    int,
    QueryParameter(ge=1, le=LARGEST_PAGE, description=f"rows of a page, 1–{LARGEST_PAGE}", required=False),
]
"""The parameter `limit`; a route gives it the default `PAGE`."""
PAGE: Final = 100
Cursor = Annotated[
    str | None,
    QueryParameter(description="`next` of the page before", min_length=1, max_length=1024, required=False),
]
"""The parameter `cursor`."""

_CHECK: Final = 6


def write_cursor(of: str, place: Any) -> str:
    """The cursor of the list `of` (a route, its activity and its filters) for the rows after `place`."""
    body = msgspec.json.encode(place)
    return base64.urlsafe_b64encode(_check(of, body) + body).rstrip(b"=").decode()


def read_cursor(of: str, cursor: str | None, kind: type[T]) -> T | None:
    """The place that a cursor of this list names; None for the beginning. Raises `Problem` for any other: one
    of another list, or one that somebody changed. The check is against mistakes: whoever forged one would see
    no more than their own rows."""
    if cursor is None:
        return None
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, body = found[:_CHECK], found[_CHECK:]
        if check == _check(of, body) and base64.urlsafe_b64encode(found).rstrip(b"=").decode() == cursor:
            return msgspec.json.decode(body, type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        pass
    raise _foreign()


def _foreign() -> Problem:
    return unprocessable("cursor", "expected `next` of this list's page before, as it was given")


def _check(of: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK, key=hashlib.sha256(of.encode()).digest()).digest()
