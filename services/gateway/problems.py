"""What the API says when it does not do what was asked: problem details (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from services.runtime.ports import SELDOM
from services.store.ports import StoreRejected, StoreUnavailable

LOG = structlog.get_logger("livecard.gateway")

MEDIA_TYPE: Final = "application/problem+json"
DOCUMENT: Final = "GET /openapi.json lists every route"
_MISSING: Final = re.compile(r"Missing required \w+ parameter '(.+?)'")
"""How Litestar says it; it names the parameter nowhere else."""
TOO_LARGE: Final = "the body is larger than a mebibyte: send less at a time"
STORE_AWAY: Final = 5
"""Seconds after which to try again while the store is away."""


class FieldError(msgspec.Struct, frozen=True):
    """One field that is to blame: where it stands (`participants[3]`; empty: the whole), what is wrong."""

    path: str
    message: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem as it is written (`application/problem+json`)."""

    title: str
    status: int
    detail: str = ""
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """Raised by a route, answered as problem details. `detail` says what to do; no secret, no internals."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        title: str = "",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.title = title or HTTPStatus(status).phrase
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def encode(self) -> bytes:
        """The body."""
        return msgspec.json.encode(ProblemBody(self.title, self.status, self.detail, self.errors))

    def response(self) -> Response[bytes]:
        """The whole answer."""
        return Response(
            self.encode(), status_code=self.status, media_type=MEDIA_TYPE, headers=dict(self.headers)
        )


def not_found(what: str = "") -> Problem:
    """404: unknown, deleted, or another app's."""
    return Problem(404, what or "there is no such thing here")


def no_such_path() -> Problem:
    """404 for what no route is for; `not_found` is a route's."""
    return Problem(
        404, f"no such path: {DOCUMENT}; segments are percent-encoded UTF-8, and none of them is empty"
    )


def unprocessable(path: str, message: str) -> Problem:
    """422 for one field."""
    return Problem(422, "the request's data is wrong", errors=[FieldError(path, message)])


def unavailable(detail: str, retry_after: int) -> Problem:
    """503: try again in so many seconds."""
    return Problem(503, detail, headers={"Retry-After": str(max(1, retry_after))})


def problem_of(error: Exception, request: Request[Any, Any, Any]) -> Problem:
    """What is answered to whatever was raised."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StoreUnavailable):
        LOG.warning("a request failed: the store is away", **_about(request), error=str(error), every=SELDOM)
        return unavailable("the store does not answer: try again", STORE_AWAY)
    if isinstance(error, StoreRejected):
        return Problem(422, "the store refuses this data: a text that is no UTF-8, or a value out of range")
    if isinstance(error, ValidationException):
        return Problem(422, "a parameter of the request is wrong", errors=_fields(error))
    if isinstance(error, NotFoundException):
        return no_such_path()
    if isinstance(error, MethodNotAllowedException):
        headers = dict(error.headers or {})
        return Problem(405, f"this path has other methods, see Allow: {DOCUMENT}", headers=headers)
    if isinstance(error, HTTPException) and error.status_code < 500:
        detail = TOO_LARGE if error.status_code == 413 else error.detail
        return Problem(error.status_code, detail, headers=dict(error.headers or {}))
    LOG.error("a request failed unexpectedly", **_about(request), exc_info=error)
    return Problem(500, "something went wrong here: the log of the gateway says what")


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    return problem_of(error, request).response()


def _about(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The activity that the request is about, if it is about one."""
    named = request.scope.get("path_params", {}).get("activity_id")
    return {} if named is None else {"activity_id": named}


def _fields(error: ValidationException) -> list[FieldError]:
    if missing := _MISSING.match(error.detail):
        return [FieldError(missing[1], "expected this parameter: it is required")]
    extra = error.extra if isinstance(error.extra, list) else []
    return [FieldError(str(each.get("key", "")), str(each.get("message", ""))) for each in extra]
