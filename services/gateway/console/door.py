"""Who may open a page of the console: signed in, with the scope of its route; a form also with its token."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from services.gateway.console.sessions import COOKIE, PATH, SIGN_IN_COOKIE, Session, Sessions, same
from services.gateway.problems import Problem

READ: Final = "read"
"""The scope without which nobody signs in."""
SIGN_IN: Final = f"{PATH}/sign-in"
_OURS: Final = ("same-origin", "none", "")
"""What a browser says of where a request comes from (`Sec-Fetch-Site`), if at all: this site, or a person."""
STRANGER: Final = (
    "this form is not from a page of the console as it is now: load the page again, and send it anew"
)


class SignInFirst(Problem):
    """401, answered with the way to the sign-in page."""

    def __init__(self) -> None:
        super().__init__(401, "sign in first")


async def let_in(request: Request[Any, Any, Any], handler: BaseRouteHandler, sessions: Sessions) -> None:
    """Remember who is signed in; raise `Problem` for whoever may not."""
    session = sessions.find(request.cookies.get(COOKIE))
    request.state.session = session
    request.state.caller = session.caller if session else None
    if not handler.opt.get("open"):
        _check(session, handler)
    if request.method == "POST":
        await _check_form(request, session)


def _check(session: Session | None, handler: BaseRouteHandler) -> None:
    if session is None or READ not in session.caller.scopes:
        raise SignInFirst
    scope = handler.opt.get("scope")
    if scope not in session.caller.scopes:
        raise Problem(403, f"the key {session.caller.name!r} has not the scope {scope!r}")


async def _check_form(request: Request[Any, Any, Any], session: Session | None) -> None:
    form = await request.form()
    sent = form.get("token")
    token = session.token if session else request.cookies.get(SIGN_IN_COOKIE, "")
    ours = request.headers.get("sec-fetch-site", "") in _OURS
    if not ours or not isinstance(sent, str) or not same(token, sent):
        raise Problem(403, STRANGER)


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Session | None:
    """Who is signed in, as far as `let_in` came."""
    found: Session | None = connection.state.get("session")
    return found
