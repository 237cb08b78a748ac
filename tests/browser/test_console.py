"""The console in a browser, before everything that `livecard up` runs: an outage comes and goes, a gate is
opened, a card redelivered, by keyboard alone, at two widths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from scripts.patience import PATIENCE
from tests.browser.pages import NARROW, WIDE, opened, overflows, violations
from tests.e2e.up import Up, up

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncIterator[Up]:
    """`livecard up`, with one activity."""
    async with up(tmp_path_factory.mktemp("console")) as one:
        yield one


@asynccontextmanager
async def console(browser: Browser, one: Up, width: int = WIDE, **context: Any) -> AsyncIterator[Page]:
    """Signed in, at the overview."""
    async with opened(browser, f"{one.gateway}/console", width=width, **context) as page:
        await page.get_by_label("API key").fill(one.key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        yield page


class Caller:
    """A backend, and whoever works WeChat's servers."""

    def __init__(self, one: Up) -> None:
        self._one = one
        self._api = httpx.AsyncClient(
            base_url=f"{one.gateway}/v1", headers={"authorization": f"Bearer {one.key}"}
        )

    async def close(self) -> None:
        """Let its connections go."""
        await self._api.aclose()

    async def create(self, title: str, *members: str) -> str:
        """An activity that is open; of Alex, Bob and Cindy where nobody is named."""
        deadline = datetime.now(UTC) + timedelta(hours=6)
        made = await self._api.post(
            "/activities",
            json={
                "appid": "wx1",
                "template": "complete",
                "title": title,
                "participants": members or ["gp-alex", "gp-bob", "gp-cindy"],
                "deadline": deadline.isoformat(),
            },
        )
        assert made.status_code == 201, made.text
        activity: str = made.json()["activity_id"]
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = await self._api.get(f"/activities/{activity}")
                if seen.json()["state"] != "opening":
                    return activity
                await asyncio.sleep(0.05)

    async def complete(self, activity: str, *members: str) -> None:
        """Members are done."""
        done = await self._api.post(f"/activities/{activity}/complete", json={"members": members})
        assert done.status_code == 202, done.text

    async def fault(self, **action: Any) -> None:
        """WeChat's answer to the card's call from now on; without any it is well again."""
        async with httpx.AsyncClient(base_url=self._one.page) as control:
            await control.delete("/control/faults")
            if action:
                rule = {"match": {"path": SET_CHAT_TOOL_MSG_PATH}, "action": action}
                (await control.post("/control/faults", json=rule)).raise_for_status()


@pytest_asyncio.fixture(loop_scope="module")
async def caller(running: Up) -> AsyncIterator[Caller]:
    """Of this module's `up`; WeChat is well afterwards."""
    one = Caller(running)
    yield one
    await one.fault()
    await one.close()


async def no_fault(page: Page) -> None:
    """In neither language the page is wider than its window, and axe-core finds nothing serious."""
    here = page.url.partition("?")[0]
    for language in ("zh", "en"):
        await page.goto(f"{here}?lang={language}")
        assert not await overflows(page), here
    assert await violations(page) == []


async def tab_to(page: Page, element: str) -> None:
    """Walk to what has this id, by the Tab key alone."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == element:
            return
    raise AssertionError(f"no Tab leads to {element!r}")


async def test_an_outage_is_seen_and_its_healing(browser: Browser, running: Up, caller: Caller) -> None:
    """Without a click: the page refreshes itself."""
    activity = await caller.create("Team building")
    async with console(browser, running) as page:
        verdict = page.get_by_role("heading", level=1)
        await expect(verdict).to_have_text("Every card shows what it should.")
        await caller.fault(errcode=-1)
        await caller.complete(activity, "gp-alex")
        await expect(verdict).to_have_text("One card is not in sync.")
        await expect(page.get_by_text("backing_off").first).to_be_visible()
        await caller.fault()
        await expect(verdict).to_have_text("Every card shows what it should.")


async def test_a_gate_is_opened_by_keyboard(browser: Browser, running: Up, caller: Caller) -> None:
    """What has the focus keeps it while the page refreshes."""
    activity = await caller.create("Hike")
    await caller.fault(errcode=40013)
    await caller.complete(activity, "gp-alex")
    async with console(browser, running) as page:
        button = page.get_by_role("button", name="Open the gate of wx1")
        await expect(button).to_be_visible()
        await expect(page.get_by_text("misconfigured").first).to_be_visible()
        await no_fault(page)
        await tab_to(page, "open-wx1")
        as_of = await page.locator(".asof time").inner_text()
        await expect(page.locator(".asof time")).not_to_have_text(as_of)
        await expect(button).to_be_focused()
        await caller.fault()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("The gate of wx1 is open.")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Every card shows what it should.")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_focused()
        await no_fault(page)


async def test_a_story_is_found_and_its_card_redelivered_by_keyboard(
    browser: Browser, running: Up, caller: Caller
) -> None:
    activity = await caller.create("Signing up")
    await caller.fault(errcode=40097)
    await caller.complete(activity, "gp-alex", "gp-bob", "gp-cindy")
    async with console(browser, running, NARROW, color_scheme="dark") as page:
        await expect(page.get_by_text("given up").first).to_be_visible()
        await no_fault(page)
        await tab_to(page, "find")
        await page.keyboard.type(activity)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Signing up")
        await expect(page.locator(".lead")).to_contain_text("given up")
        await no_fault(page)
        await caller.fault()
        await tab_to(page, "redeliver")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_be_visible()
        await expect(page.locator(".lead")).to_contain_text("in sync")
        timeline = page.locator(".timeline")
        await expect(timeline).to_contain_text("Delivered: revision")
        await expect(timeline).to_contain_text("40097")
        reads = page.locator(".reads")
        await expect(reads).to_contain_text("3")


async def test_a_refresh_leaves_the_reader_what_it_is_at(
    browser: Browser, running: Up, caller: Caller
) -> None:
    """A table stays scrolled, a text selected, and a button that is pressed meanwhile is pressed."""
    activity = await caller.create("Long names", *(f"gp-{n}-{'x' * 40}" for n in range(5)))
    async with console(browser, running, NARROW) as page:
        await page.goto(f"{running.gateway}/console/activities/{activity}")
        table, as_of = page.locator("#members-scroll"), page.locator(".asof time")
        await table.evaluate("each => { each.scrollLeft = 50; }")
        before = await as_of.inner_text()
        await expect(as_of).not_to_have_text(before)
        assert await table.evaluate("each => each.scrollLeft") == 50
        await table.get_by_role("rowheader").first.select_text()
        async with page.expect_response(lambda each: each.url.endswith(activity)):
            pass
        await asyncio.sleep(0.2)
        assert "gp-" in await page.evaluate("String(getSelection())")
        await page.evaluate("getSelection().removeAllRanges()")
        await page.locator("#redeliver").hover()
        await page.mouse.down()
        async with page.expect_response(lambda each: each.url.endswith(activity)):
            pass
        await asyncio.sleep(0.2)
        await page.mouse.up()
        await expect(page.get_by_role("status")).to_be_visible()
