"""The page that shows the chat: a few files, which need nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

_FOLDER: Final = Path(__file__).parent
_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page_card.js": ("page_card.js", "text/javascript"),
    "/page_forms.js": ("page_forms.js", "text/javascript"),
    "/page_elements.js": ("page_elements.js", "text/javascript"),
    "/page_texts.js": ("page_texts.js", "text/javascript"),
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[web.RouteDef]:
    """Where the files are."""
    return [web.get(path, _file(name, kind)) for path, (name, kind) in _FILES.items()]


def _file(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = (_FOLDER / name).read_bytes()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)

    return answer
