"""The pictures of docs/images, made anew from pages that run: `python -m scripts.screenshots`.

The pages are those of `livecard up`, with what a person would do on them. Needs a Chromium (Debian: chromium,
fonts-noto-cjk), as the tests do.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
from playwright.async_api import Browser, Page

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from scripts.engines import EngineError
from scripts.engines.chromium import chromium
from tests.e2e.up import Up, up

IMAGES: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
LANGUAGES: Final = {"zh": "zh-CN", "en": "en-GB"}
WIDTHS: Final = {"wide": (1280, 860), "narrow": (390, 844)}
TIMEZONE: Final = "Asia/Shanghai"
SEEN: Final = 4.0
"""Seconds in which a refusal comes to all cards, and the console knows."""


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


async def chat(running: Up, browser: Browser, folder: Path, widths: Collection[str]) -> None:
    """The chat with three cards: one has ended, one waits for a member, one is just open."""
    async with visit(browser, running.page) as page:
        await page.wait_for_selector("#live.good")
        await open_activity(page, "周报收集", "complete")
        await finish(page, "gp-alex", "gp-bob", "gp-dora")
        await open_activity(page, "团建报名统计", "participate")
        await finish(page, "gp-alex", "gp-bob")
    for language in LANGUAGES:
        for width in widths:
            async with visit(browser, running.page, language, width) as page:
                await page.wait_for_selector("#live.good")
                await page.screenshot(path=folder / f"chat-{width}-{language}.png")
                if width == "narrow":
                    await page.click("[data-goto=card]")
                    await page.screenshot(path=folder / f"card-{width}-{language}.png")


async def console(running: Up, browser: Browser, folder: Path, widths: Collection[str]) -> None:
    """The console while WeChat refuses the app: what is late and why, the closed gate, a card's story."""
    async with httpx.AsyncClient() as client:

        async def ask(url: str, **body: Any) -> Any:
            headers = {"authorization": f"Bearer {running.key}"} if url.startswith(running.gateway) else {}
            answer = await client.post(url, json=body, headers=headers)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        people = ["gp-alex", "gp-bob", "gp-dora"]
        cards = f"{running.gateway}/v1/activities"
        made = [
            await ask(cards, appid="wx1", template="complete", title=title, participants=people)
            for title in ("周末徒步报名", "设备领用确认", "安全培训签到", "体检预约")
        ]
        for refusal, finished in ((40097, made[:1]), (40013, made[1:])):
            await ask(
                f"{running.page}/control/faults",
                match={"path": SET_CHAT_TOOL_MSG_PATH},
                action={"errcode": refusal},
            )
            for each in finished:
                await ask(f"{cards}/{quote(each['activity_id'], safe='')}/complete", members=people)
            await asyncio.sleep(SEEN)
            await client.delete(f"{running.page}/control/faults")
    story = f"activities/{quote(made[0]['activity_id'], safe='')}"
    for language in LANGUAGES:
        for width in widths:
            async with visit(browser, f"{running.gateway}/console", language, width) as page:
                await page.fill("#key", running.key)
                await page.press("#key", "Enter")
                await page.wait_for_selector("#open-wx1")
                await page.screenshot(path=folder / f"console-{width}-{language}.png", full_page=True)
                await page.goto(f"{running.gateway}/console/{story}")
                await page.screenshot(path=folder / f"story-{width}-{language}.png", full_page=True)


async def shoot(folder: Path, widths: Collection[str]) -> None:
    """All pictures of these widths."""
    with tempfile.TemporaryDirectory(prefix="livecard-screenshots-") as state:
        async with up(Path(state)) as running, chromium() as browser:
            await chat(running, browser, folder, widths)
            await console(running, browser, folder, widths)


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=IMAGES, help="the folder (%(default)s)")
    parser.add_argument("--narrow", action="store_true", help="also as wide as a telephone, for a look")
    given = parser.parse_args()
    try:
        asyncio.run(shoot(given.to, WIDTHS if given.narrow else ["wide"]))
    except EngineError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
