"""Bodies of requests: JSON in UTF-8; an empty one is `{}`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Meta

from contracts.events import EventData
from contracts.reading import Unfit, read_data
from services.gateway.problems import FieldError, Problem
from services.store.operators import LONGEST_WHY

T = TypeVar("T")

LEFT: Final = 499
"""The status, in metrics and logs, of a request whose client left: nobody reads the answer. nginx's, too."""

_AT: Final = re.compile(r"^(.*?)(?: - at `(?:key in )?\$(.*)`)?$", re.DOTALL)
_NAMED: Final = re.compile(r"(?:missing required|unknown) field `(.*)`$")
"""A field that msgspec names in its words alone, not in the path."""
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


async def body_of(request: Request[Any, Any, Any]) -> bytes:
    """The bytes; 415 where they are said to be something else than JSON."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (
        said
        and said != "application/json"
        and not (said.startswith("application/") and said.endswith("+json"))
    ):
        raise Problem(415, "send the body as JSON, with the header Content-Type: application/json")
    try:
        return await request.body() or b"{}"
    except InternalServerException:  # Litestar's word for a client that left
        raise Problem(LEFT, "the client left before its body was there", title="Client Left") from None


def read_event(kind: str, body: bytes) -> EventData:
    """The data of an event of this type, by the rules of the topic. Raises `Problem`."""
    try:
        return read_data(kind, body)
    except Unfit as unfit:
        path = re.sub(r"^data\.?", "", unfit.path)
        raise Problem(422, "the request's data is wrong", errors=[FieldError(path, unfit.problem)]) from None
    except _NOT_JSON:
        raise not_json() from None


def read_body(body: bytes, kind: type[T]) -> T:
    """A struct of our own, without unknown fields if it forbids them. Raises `Problem`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        assert found is not None
        path, named = found[2] or "", _NAMED.search(found[1])
        if named:
            path += f".{named[1]}"
        errors = [FieldError(path.lstrip("."), found[1])]
        raise Problem(422, "the request's data is wrong", errors=errors) from None
    except _NOT_JSON:
        raise not_json() from None


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body of which nothing is needed."""


class Why(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an operator does it; kept with the action."""

    why: Annotated[str, Meta(max_length=LONGEST_WHY)] = ""


def not_json() -> Problem:
    """400."""
    return Problem(400, "the body is not JSON in UTF-8")
