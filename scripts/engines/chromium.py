"""Chromium: Debian's browser without a window, driven by Playwright, for the tests of our pages."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from scripts.engines.process import EngineError

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
"""No sandbox: in a container there is none to be had. The rest keeps it from calling anybody."""


def command() -> str | None:
    """Return the path of the browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def missing() -> str | None:
    """Say what keeps the browser from being started here, or None when nothing does."""
    return None if command() else "no Chromium (Debian: chromium, fonts-noto-cjk)"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window. Raises `EngineError` where there is none."""
    from playwright.async_api import async_playwright

    if reason := missing():
        raise EngineError(f"the browser cannot be started: {reason}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=command(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
