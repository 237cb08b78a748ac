"""Cursors: opaque, url-safe, of one list alone; whatever else is handed in is told so."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec
import pytest

from services.gateway.cursors import read_cursor, write_cursor
from services.gateway.problems import FieldError, Problem
from services.store.pages import Place

PLACES: list[tuple[type[Any], Any]] = [
    (str, "gp-团建/?&=+ "),
    (str, ""),
    (Place, Place(1_795_248_000_000_000, "966_NGiq/x")),
]


@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_a_cursor_says_its_place_again(kind: type[Any], place: Any) -> None:
    """In characters that need no encoding in a URL."""
    cursor = write_cursor("list a", place)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert read_cursor("list a", cursor, kind) == place


def test_no_cursor_is_the_beginning() -> None:
    """None."""
    assert read_cursor("list a", None, str) is None


def refused(cursor: str, of: str = "list a", kind: type[Any] = Place) -> None:
    """422, and the parameter is named."""
    with pytest.raises(Problem) as raised:
        read_cursor(of, cursor, kind)
    assert raised.value.status == 422
    (error,) = raised.value.errors
    assert isinstance(error, FieldError)
    assert error.path == "cursor"


def test_whatever_was_changed_is_refused() -> None:
    """Any character of it, its end, its padding; also the bits at the end that say nothing."""
    cursor = write_cursor("list a", Place(17, "abc"))
    for place in range(len(cursor)):
        for other in "Aa_-9":
            if other != cursor[place]:
                refused(cursor[:place] + other + cursor[place + 1 :])
        refused(cursor[:place])
    refused(cursor + "A")
    refused(cursor + "=")
    refused(cursor + "\n")


@pytest.mark.parametrize(
    "cursor", ["", "x", "团", "\x00", "../..", "%2F", "A" * 1024, "null", "====", "+/+/"]
)
def test_whatever_is_no_cursor_is_refused(cursor: str) -> None:
    """Whoever guesses one."""
    refused(cursor)


def test_a_cursor_of_another_list_is_refused() -> None:
    """Of another activity, or with another filter, its place means nothing."""
    refused(write_cursor("list b", Place(17, "abc")))


def test_a_place_of_another_kind_is_refused() -> None:
    """A list that changes between releases, say."""
    refused(write_cursor("list a", "abc"))


def test_a_cursor_is_no_secret_and_no_promise() -> None:
    """Documented: its check finds mistakes. It holds nothing but the last row's place."""
    cursor = write_cursor("list a", "gp-alex")
    body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[6:]
    assert msgspec.json.decode(body) == "gp-alex"
