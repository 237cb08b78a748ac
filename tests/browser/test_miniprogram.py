"""The example mini program in a browser: its wxml drawn by glass-easel, its buttons tapped.

What that does not carry: skyline's layout, navigation bars, and components other than the built-in ones of
tests/examples/miniprogram/screen.mjs. wxss is handed to the browser as CSS, with rpx made into vw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from scripts.patience import PATIENCE
from tests.browser.pages import overflows
from tests.e2e.up import Up, up
from tests.examples.shown import launch, telephone
from tests.examples.stage import backend, compiled

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LIST = "/tool/pages/list/list"
IN_G1 = {"rooms": ["g-1"], "open": False, "selected": []}
PEOPLE = {"o-cindy": "gp-cindy", "o-alex": "gp-alex", "o-bob": "gp-bob"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """`livecard up`; where there is no browser, nothing is started."""
    assert browser.is_connected()
    async with up(tmp_path_factory.mktemp("up")) as found:
        room = {"appid": "wx1", "opengid": "g-1", "members": PEOPLE}
        async with httpx.AsyncClient(base_url=found.page) as simulator:
            await simulator.post("/control/rooms", json=room)
        yield found


async def tap(page: Page, text: str) -> None:
    await page.locator("page:last-of-type button:enabled", has_text=text).click()


async def test_a_tap_on_the_page_completes_a_member(browser: Browser, running: Up, tmp_path: Path) -> None:
    """One telephone publishes a card, the other one's button completes its member; both pages show it."""
    files = compiled(tmp_path / "build")
    async with backend(running.gateway, running.key, tmp_path / "log") as address:
        where = {"simulator": running.page, "backend": address}
        async with (
            telephone(browser, files, tmp_path, "o-cindy", **where) as cindy,
            telephone(browser, files, tmp_path, "o-alex", **where) as alex,
        ):
            await launch(cindy, LIST, tool=IN_G1)
            await cindy.evaluate("phone.picks.members = ['gp-alex', 'gp-bob']")
            await tap(cindy, "发起任务")
            await cindy.locator("input").fill("团建报名")
            await tap(cindy, "选择参与的人")
            await expect(cindy.locator("open-data-list")).to_contain_text("gp-alex")
            await tap(cindy, "发到聊天")
            await expect(cindy.locator("page").last).to_contain_text("结束任务")
            sent = await cindy.evaluate("phone.chats.said.at(-1)")

            await launch(alex, sent["path"], tool=IN_G1)
            assert not await overflows(alex)
            await tap(alex, "我已完成")
            async with asyncio.timeout(PATIENCE):
                while (await running.cards())[0]["done"] != ["gp-alex"]:
                    pass
            for page, text in ((alex, "你已完成"), (cindy, "1 人已完成")):
                await tap(page, "刷新")
                await expect(page.locator("page").last).to_contain_text(text)
            await expect(alex.get_by_text("我已完成")).to_have_count(0)
