"""Renders the console's pages: templates that escape, one language of two, headers that forbid the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie

from contracts.times import SECOND, format_rfc3339
from services.gateway.console.door import session_of
from services.gateway.console.sessions import PATH
from services.gateway.console.translations import EN, LANGUAGES, ZH, Translations
from statemachine.gate import NEVER

FOLDER: Final = Path(__file__).parent
LANGUAGE_COOKIE: Final = "livecard_language"
YEAR: Final = 365 * 86_400
REFRESH: Final = 2
"""Seconds between two refreshes of a page that is open."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
HTMX: Final = msgspec.json.encode(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyEnabled": False,
        "timeout": 10_000,
    }
).decode()
"""htmx evaluates nothing, adds no styles, and asks no other host."""
STATIC: Final = {
    "htmx.min.js": "text/javascript; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class Pages:
    """The templates, and the files that the pages load."""

    def __init__(self) -> None:
        self._translations = Translations()
        self.static = {name: (FOLDER / "static" / name).read_bytes() for name in STATIC}
        self.version = hashlib.sha256(b"".join(self.static.values())).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            path=PATH,
            htmx=HTMX,
            refresh=REFRESH,
            never=NEVER,
            languages=LANGUAGES,
            version=self.version,
        )
        self._templates.filters.update(clock=_clock, moment=_moment, segment=segment)
        self._templates.tests["of_type"] = _of_type

    def answer(
        self, request: Request[Any, Any, Any], name: str, *, status: int = 200, **values: Any
    ) -> Response[str]:
        """The page of this name in the reader's language, which is remembered where the address names it."""
        language, asked = language_of(request)

        def say(key: str, /, **places: object) -> str:
            return self._translations.say(language, key, **places)

        def here(**changed: str | None) -> str:
            return address(request, **changed)

        text = self._templates.get_template(f"{name}.html").render(
            language=language,
            tag="zh-CN" if language == ZH else "en",
            say=say,
            known=self._translations.__contains__,
            age=lambda us: self._translations.age(language, us),
            here=here,
            live=request.query_params.get("live") != "off",
            session=session_of(request),
            **values,
        )
        answer = Response(text, status_code=status, media_type="text/html", headers=HEADERS)
        if asked:
            answer.set_cookie(remembered(request, LANGUAGE_COOKIE, language, YEAR))
        return answer


def remembered(request: Request[Any, Any, Any], name: str, value: str, seconds: int) -> Cookie:
    """A cookie of the console: for no script, no other site, and over TLS alone where it came that way."""
    return Cookie(
        name,
        value=value,
        path=PATH,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=over_tls(request),
    )


def over_tls(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser speaks TLS, here or with the proxy before."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


def language_of(request: Request[Any, Any, Any]) -> tuple[str, bool]:
    """The language: what the address names (then True), what is remembered, or what the browser wants."""
    asked = request.query_params.get("lang")
    if asked in LANGUAGES:
        return asked, True
    kept = request.cookies.get(LANGUAGE_COOKIE)
    if kept in LANGUAGES:
        return kept, False
    first = request.headers.get("accept-language", "").partition(",")[0].strip().lower()
    return (ZH if first.startswith("zh") else EN), False


def address(request: Request[Any, Any, Any], **changed: str | None) -> str:
    """Where the reader is, with other parameters; None takes one away."""
    kept = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    query: Mapping[str, str] = {
        name: value for name, value in (kept | changed).items() if value and name not in ("lang", "did")
    } | {name: value for name, value in changed.items() if name in ("lang", "did") and value}
    path: str = request.scope["path"]
    return f"{path}?{urlencode(query)}" if query else path


def _clock(us: int) -> str:
    return _moment(us)[11:19]


def _moment(us: int) -> str:
    """To the second: `2026-11-21T08:00:00Z`."""
    return format_rfc3339(us // SECOND * SECOND)


def segment(text: str) -> str:
    """As one segment of a path."""
    return quote(text, safe="")


def _of_type(value: object, name: str) -> bool:
    return type(value).__name__ == name
