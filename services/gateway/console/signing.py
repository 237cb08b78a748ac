"""Signing in with an API key, and out; and the files that the pages load."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import PathParameter

from services.gateway.console.dependencies import TheConsole, redirect
from services.gateway.console.door import READ, SIGN_IN
from services.gateway.console.pages import HEADERS, STATIC, remembered
from services.gateway.console.sessions import COOKIE, LIFE, PATH, SIGN_IN_COOKIE
from services.gateway.problems import no_such_path

_INSIDE: Final = re.compile(rf"{PATH}(?:[/?][!-\[\]-~]*)?")
"""An address of the console: no other host, no other part of this one."""
FOREVER: Final = "public, max-age=31536000, immutable"
"""A file's address changes with its content (`v`). Another one's is that of another version's gateway, beside
this one while they are replaced: what it names must not be kept as this."""


@get("/sign-in", opt={"console": True, "open": True})
async def sign_in_page(request: Request[Any, Any, Any], console: TheConsole) -> Response[str]:
    """The form."""
    return _form(request, console, "", 200)


@post("/sign-in", opt={"console": True, "open": True})
async def sign_in(request: Request[Any, Any, Any], console: TheConsole) -> Response[Any]:
    """A cookie for a key; the key itself is kept nowhere."""
    form = await request.form()
    key = form.get("key")
    caller = request.app.state.api_keys.find(key.strip()) if isinstance(key, str) else None
    if caller is None:
        return _form(request, console, "sign.in.wrong", 401)
    if READ not in caller.scopes:
        return _form(request, console, "sign.in.scope", 403)
    answer = redirect(_back(request))
    answer.set_cookie(remembered(request, COOKIE, console.sessions.begin(caller), LIFE))
    answer.set_cookie(remembered(request, SIGN_IN_COOKIE, "", 0))
    return answer


@post("/sign-out", opt={"console": True, "open": True})
async def sign_out(request: Request[Any, Any, Any]) -> Response[None]:
    """The browser forgets the cookie."""
    answer = redirect(SIGN_IN)
    answer.set_cookie(remembered(request, COOKIE, "", 0))
    return answer


@get("/static/{name:str}", opt={"console": True, "open": True}, sync_to_thread=False)
def static(
    request: Request[Any, Any, Any],
    name: Annotated[str, PathParameter(description="a file of the pages")],
    console: TheConsole,
) -> Response[bytes]:
    """One file."""
    if name not in STATIC:
        raise no_such_path()
    ours = request.query_params.get("v") == console.pages.version
    headers = {**HEADERS, "Cache-Control": FOREVER} if ours else HEADERS
    return Response(console.pages.static[name], media_type=STATIC[name], headers=headers)


def _form(request: Request[Any, Any, Any], console: TheConsole, wrong: str, status: int) -> Response[str]:
    token = request.cookies.get(SIGN_IN_COOKIE) or console.sessions.new_token()
    session = request.state.get("session")
    answer = console.pages.answer(
        request,
        "sign_in",
        status=status,
        token=session.token if session else token,
        wrong=wrong,
        back=_back(request),
        hours=LIFE // 3_600,
    )
    answer.set_cookie(remembered(request, SIGN_IN_COOKIE, token, LIFE))
    return answer


def _back(request: Request[Any, Any, Any]) -> str:
    to = request.query_params.get("to", "")
    return to if _INSIDE.fullmatch(to) else PATH
