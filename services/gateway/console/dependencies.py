"""The parts of the console, as its routes take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.di import NamedDependency

from services.gateway.console.door import SIGN_IN, SignInFirst, session_of
from services.gateway.console.overview_cache import Watch
from services.gateway.console.pages import HEADERS, Pages, address
from services.gateway.console.sessions import PATH, Session, Sessions
from services.gateway.dependencies import Gateway
from services.gateway.keys import ApiKeys
from services.gateway.problems import problem_of
from services.runtime.ports import Chance


@dataclass(frozen=True, slots=True)
class Console:
    """One for a process (the dependency `console`)."""

    pages: Pages
    sessions: Sessions
    watch: Watch

    @classmethod
    def of(cls, gateway: Gateway, keys: ApiKeys, secrets: Chance) -> Console:
        """Of this gateway. `secrets`: randomness that nobody can guess."""
        sealing = gateway.session_keys
        shared = sealing if sealing is not None and sealing.usable else None
        return cls(
            Pages(),
            Sessions(shared, keys, gateway.clock, secrets),
            Watch(gateway.store, gateway.clock, gateway.rules),
        )

    def problem(self, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        """What is answered instead of a page: the way to the sign-in page, or one that says what is wrong."""
        problem = problem_of(error, request)
        if isinstance(problem, SignInFirst):
            return sign_in_first(request)
        answer = self.pages.answer(request, "problem", status=problem.status, problem=problem)
        answer.headers.update(problem.headers)
        return answer


TheConsole = NamedDependency[Console]
"""How a route takes it: `console: TheConsole`."""
TheSession = NamedDependency[Session]
"""How it takes who is signed in: `session: TheSession`."""


async def the_session(request: Request[Any, Any, Any]) -> Session:
    """Whom the door let in. Raises `SignInFirst` where nobody is signed in."""
    session = session_of(request)
    if session is None:
        raise SignInFirst
    return session


def concerns(request: Request[Any, Any, Any]) -> bool:
    """Whether this is a request for a page."""
    path: str = request.scope["path"]
    return path == PATH or path.startswith(f"{PATH}/")


def redirect(to: str) -> Response[None]:
    """See there."""
    return Response(None, status_code=303, headers={**HEADERS, "Location": to})


def sign_in_first(request: Request[Any, Any, Any]) -> Response[None]:
    """To the sign-in page, and back from there; a page that refreshes itself goes there as a whole."""
    from_page = request.headers.get("hx-request") == "true"
    back = address(request) if request.method == "GET" else PATH
    to = SIGN_IN if back == PATH else f"{SIGN_IN}?{_to(back)}"
    if from_page:
        return Response(None, status_code=401, headers={**HEADERS, "HX-Redirect": to})
    return redirect(to)


def _to(back: str) -> str:
    return urlencode({"to": back})
