"""Pages of our own in the browser: opened so that a fault in them fails the test, and judged by axe-core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page

from scripts.engines.npm import node_modules
from scripts.patience import PATIENCE

WIDE, NARROW = 1280, 390
HEIGHT: Final = 844
PATIENT: Final = PATIENCE * 1000
"""As Playwright takes it. Wait for locators: `wait_for_function` is refused by the pages' own policy."""
GRAVE: Final = ("serious", "critical")


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, width: int = WIDE, forgiven: tuple[str, ...] = (), **context: Any
) -> AsyncIterator[Page]:
    """The page at `url`, in a context of its own; `context` as `Browser.new_context` takes it.

    What its scripts throw, and what the browser writes down as an error (a blocked resource, say), fails
    the test at the end, unless it has one of the `forgiven` texts in it.
    """
    faults: list[str] = []
    viewport = {"width": width, "height": HEIGHT}
    apart = await browser.new_context(**{"viewport": viewport, "reduced_motion": "reduce", **context})
    apart.set_default_timeout(PATIENT)
    try:
        page = await apart.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        await page.goto(url)
        yield page
        grave = [each for each in faults if not any(text in each for text in forgiven)]
        assert not grave, "\n".join(grave)
    finally:
        await apart.close()


async def violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it stands: the rule, and where."""
    script = (node_modules(Path(__file__).parent) / "axe-core" / "axe.min.js").read_text("utf-8")
    # Through the debugger, so that the page's Content-Security-Policy may forbid every script but its own.
    await page.evaluate(script)
    found = await page.evaluate("async () => (await axe.run(document)).violations")
    return [
        f"{each['id']}: {each['help']}: {node['html']}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


async def overflows(page: Page) -> bool:
    """Whether the page is wider than the window."""
    return bool(await page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


async def tab_to(page: Page, selector: str, *, most: int = 80) -> None:
    """Press Tab until the focus is on such an element, and see that it is shown."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        if await page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            shown = """() => [document.activeElement, document.activeElement.nextElementSibling]
                .some(each => each && getComputedStyle(each).outlineStyle !== "none")"""
            assert await page.evaluate(shown), f"the focus on {selector} cannot be seen"
            return
    raise AssertionError(f"Tab does not lead to {selector}")
