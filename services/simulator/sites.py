"""Who may use `/control` from a browser: the simulator's own page, and no page of another site."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from services.simulator.shell import JSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANOTHER_SITE = "this comes from a page of another site: only the simulator's own page may do it"
ANOTHER_NAME = (
    "a simulator that only this machine reaches answers to localhost and 127.0.0.1: use one of them in the "
    "address"
)


def same_site(handler: Handler) -> Handler:
    """Answers 403 for what a page of another site has the browser ask, also under a name of that site's that
    leads here. What is no browser sends no `Origin`, and is asked nothing."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            fault = _fault(request)
        except ValueError:  # a `Host` or `Origin` that is no address
            fault = ANOTHER_SITE
        if fault is None:
            return await handler(request)
        return web.Response(body=msgspec.json.encode({"error": fault}), status=403, headers=JSON)

    return guarded


def _fault(request: web.Request) -> str | None:
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return ANOTHER_SITE
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return ANOTHER_SITE
    arrived = request.transport.get_extra_info("sockname") if request.transport else None
    if arrived and _is_loopback(arrived[0]) and not _is_loopback(urlsplit(f"//{host}").hostname or ""):
        return ANOTHER_NAME
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
