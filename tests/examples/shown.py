"""The mini program's pages in a browser: drawn by glass-easel, one telephone to a window."""

from __future__ import annotations

import asyncio
import mimetypes
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from playwright.async_api import Browser, Page, Route

from scripts.engines.npm import node_modules
from scripts.patience import PATIENCE
from tests.browser.pages import NARROW, opened
from tests.examples.stage import APPID, STAGE

ORIGIN: Final = "http://stage.localhost"


@asynccontextmanager
async def telephone(
    browser: Browser, files: dict[str, str], folder: Path, openid: str, *, simulator: str, backend: str
) -> AsyncIterator[Page]:
    """A window with this user's telephone in it, as narrow as one; `launch` opens the mini program."""
    scripts = await asyncio.to_thread(_scripts, files, folder)
    async with (
        opened(browser, "about:blank", width=NARROW) as page,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        await page.route(f"{ORIGIN}/**", _serve)

        async def reach(method: str, url: str, headers: dict[str, str], body: str) -> dict[str, Any]:
            """The simulator where it is; anything else is the mini program's domain: its backend."""
            if not url.startswith(simulator):
                url = backend + httpx.URL(url).raw_path.decode()
            sent = {name: value.strip() for name, value in headers.items()}
            answer = await client.request(method, url, headers=sent, content=body or None)
            return {"status": answer.status_code, "headers": dict(answer.headers), "text": answer.text}

        await page.expose_function("reach", reach)
        await page.goto(f"{ORIGIN}/stage/browser.html")
        user = {"openid": openid, "appid": APPID, "simulator": simulator}
        await page.evaluate("given => makePhone(given)", {"files": files, "scripts": scripts, **user})
        yield page
        crashes = await page.evaluate("phone.crashes")
        assert not crashes, "\n".join(crashes)


async def launch(page: Page, url: str, **options: Any) -> Any:
    """Open the mini program at this page, until nothing is under way."""
    return await page.evaluate("([url, options]) => launch(url, options)", [url, options])


def _scripts(files: dict[str, str], folder: Path) -> dict[str, str]:
    name = folder / "shown.json"
    name.write_bytes(msgspec.json.encode(files))
    command = ["node", str(STAGE / "generate.mjs"), str(node_modules(STAGE)), str(name)]
    told = subprocess.run(command, capture_output=True, check=True)
    return msgspec.json.decode(told.stdout, type=dict[str, str])


async def _serve(route: Route) -> None:
    """The stage's own files, and npm's."""
    _, kind, name = httpx.URL(route.request.url).path.split("/", 2)
    root = {"stage": STAGE, "npm": node_modules(STAGE)}.get(kind)
    if root is None or not (root / name).is_file():
        await route.fulfill(status=204)
        return
    content = "text/javascript" if name.endswith("js") else mimetypes.guess_type(name)[0]
    await route.fulfill(body=(root / name).read_bytes(), content_type=f"{content}; charset=utf-8")
