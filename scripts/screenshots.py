"""The pictures of docs/images, made anew from pages that run: `python -m scripts.screenshots`.

The pages are those of `livecard up`, with what a person would do on them. Needs a Chromium (Debian: chromium,
fonts-noto-cjk), as the tests do.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Page

from scripts.engines import EngineError
from scripts.engines.chromium import chromium
from tests.e2e.up import Up, up

IMAGES: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
LANGUAGES: Final = {"zh": "zh-CN", "en": "en-GB"}
WIDTHS: Final = {"wide": (1280, 860), "narrow": (390, 844)}
TIMEZONE: Final = "Asia/Shanghai"


@asynccontextmanager
async def visit(browser: Browser, url: str, language: str = "zh", width: str = "wide") -> AsyncIterator[Page]:
    """A page in this language and width."""
    across, down = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": across, "height": down},
        locale=LANGUAGES[language],
        timezone_id=TIMEZONE,
        reduced_motion="reduce",
        device_scale_factor=2 if width == "narrow" else 1,
    )
    try:
        page = await context.new_page()
        await page.goto(url)
        yield page
    finally:
        await context.close()


async def open_activity(page: Page, title: str, template: str) -> None:
    """Open one with the page's form, and wait for its card."""
    await page.fill("[name=title]", title)
    await page.select_option("[name=template]", template)
    await page.click("#open .primary")
    await page.wait_for_selector(f"#card-title:text-is('{title}')")


async def finish(page: Page, *members: str) -> None:
    """Finish as each of them, and wait until the card says so."""
    for member in members:
        line = page.locator(".readers li", has_text=member)
        await line.locator("button").click()
        await line.locator(".reads.good, .reads.over").wait_for()


async def chat(running: Up, browser: Browser, folder: Path) -> None:
    """The chat with three cards: one has ended, one waits for a member, one is just open."""
    async with visit(browser, running.page) as page:
        await page.wait_for_selector("#live.good")
        await page.screenshot(path=folder / "chat-empty.png")
        await open_activity(page, "周报收集", "complete")
        await finish(page, "gp-alex", "gp-bob", "gp-dora")
        await open_activity(page, "团建报名统计", "participate")
        await finish(page, "gp-alex", "gp-bob")
    for language in LANGUAGES:
        for width in WIDTHS:
            async with visit(browser, running.page, language, width) as page:
                await page.wait_for_selector("#live.good")
                await page.screenshot(path=folder / f"chat-{width}-{language}.png")
                if width == "narrow":
                    await page.click("[data-goto=card]")
                    await page.screenshot(path=folder / f"card-{width}-{language}.png")


async def shoot(folder: Path) -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory(prefix="livecard-screenshots-") as state:
        async with up(Path(state)) as running, chromium() as browser:
            await chat(running, browser, folder)


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=IMAGES, help="the folder (%(default)s)")
    try:
        asyncio.run(shoot(parser.parse_args().to))
    except EngineError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
