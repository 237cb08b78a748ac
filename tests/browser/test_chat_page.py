"""The simulator's page, on `livecard up`: what people see of a group task, and what they can do on it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from services.simulator.app import SimulatorServer
from services.simulator.cards import Declaration
from tests.browser.pages import NARROW, PATIENT, WIDE, opened, overflows, tab_to, violations
from tests.e2e.up import Up, up

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
VIEWERS = ("publisher", "participant", "bystander")
CARD = ".message:last-of-type"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """`livecard up` as a process; each test opens an activity of its own."""
    del browser  # without one there is nothing to start
    async with up(tmp_path_factory.mktemp("up")) as process:
        yield process


async def open_activity(page: Page, title: str, *without: str) -> None:
    """With the form, for Alex, Bob and Dora but `without` some."""
    await page.fill("[name=title]", title)
    for member in without:
        await page.uncheck(f"#members [value={member}]")
    await page.click("#open .primary")
    await expect(page.locator("#card-title")).to_have_text(title, timeout=PATIENT)


async def test_a_member_finishes_and_all_three_viewers_see_it(browser: Browser, running: Up) -> None:
    """Three people with the page open, each reading as somebody else; nobody reloads anything."""
    async with AsyncExitStack() as stack:
        pages = {viewer: await stack.enter_async_context(opened(browser, running.page)) for viewer in VIEWERS}
        for viewer, page in pages.items():
            await page.check(f"[name=viewer][value={viewer}]")
        page = pages["publisher"]
        await open_activity(page, "团建报名统计", "gp-dora")

        async def read(*texts: str) -> None:
            for each, text in zip(pages.values(), texts, strict=True):
                subtitle = each.locator(".message", has_text="团建报名统计").locator(".subtitle > [lang]")
                await expect(subtitle).to_have_text(text, timeout=PATIENT)

        await read("0人已完成", "未完成", "你无需完成")
        began = time.monotonic()
        await page.click(".readers li:has-text('gp-alex') button")
        await read("1人已完成", "已完成", "你无需完成")
        print(f"\nfrom the click to three pages: {time.monotonic() - began:.2f} s")
        for each in pages.values():
            said = each.locator(".pill", has_text="阿力 已完成 小琳 发布的 团建报名统计")
            await expect(said).to_have_count(1, timeout=PATIENT)
        began = time.monotonic()
        await page.click(".readers li:has-text('gp-bob') button")
        await read("已结束", "已结束", "已结束")
        print(f"the last one, with the end: {time.monotonic() - began:.2f} s")
        for each in pages.values():
            said = each.locator(".pill", has_text="小琳 发布的 团建报名统计 已结束")
            await expect(said).to_have_count(1, timeout=PATIENT)
        await expect(page.locator("#card-body button:visible")).to_have_count(0, timeout=PATIENT)


async def test_members_may_have_any_ids(browser: Browser) -> None:
    """Also those that every object has: the page goes on."""
    simulator = SimulatorServer()
    await simulator.start()
    try:
        declared = Declaration(
            activity_id="__proto__",
            appid="wx1",
            template="complete",
            title="odd",
            publisher="toString",
            participants=("constructor", "__proto__", "<b>"),
        )
        simulator.model.declare(simulator.shell.now(), declared)
        async with opened(browser, simulator.url) as page:
            await expect(page.locator("#card-title")).to_have_text("odd", timeout=PATIENT)
            names = page.locator(".readers .name")
            assert (await names.all_inner_texts())[:4] == ["toString", "constructor", "__proto__", "<b>"]
    finally:
        await simulator.stop()


async def test_a_fault_holds_the_card_up_until_it_is_taken_away_and_the_publisher_closes(
    browser: Browser, running: Up
) -> None:
    async with opened(browser, running.page) as page:
        await open_activity(page, "奶茶拼单")
        busy = page.get_by_role("switch").first
        await busy.click()
        await expect(busy).to_have_attribute("aria-checked", "true", timeout=PATIENT)
        alex = page.locator(".readers li", has_text="gp-alex")
        await alex.locator("button").click()
        await expect(busy.locator(".struck")).not_to_be_empty(timeout=PATIENT)
        await expect(alex.locator(".reads > [lang]")).to_have_text("未完成")
        await busy.click()
        await expect(busy).to_have_attribute("aria-checked", "false", timeout=PATIENT)
        await expect(alex.locator(".reads > [lang]")).to_have_text("已完成", timeout=PATIENT)
        await page.click(".buttons .plain")
        await expect(page.locator("#card-body .chip")).to_have_class("chip s3", timeout=PATIENT)


async def test_everything_works_by_keyboard_alone(browser: Browser, running: Up) -> None:
    """From the first Tab to a finished member; where the focus is can always be seen."""
    async with opened(browser, running.page, locale="en-GB") as page:
        await expect(page.locator("#live.good")).to_be_visible(timeout=PATIENT)
        await tab_to(page, ".skip")
        await tab_to(page, "[data-language=zh]")
        await page.keyboard.press("Enter")
        await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        await tab_to(page, "[name=viewer]")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator("[name=viewer][value=bystander]")).to_be_checked()
        await tab_to(page, "[role=switch]")
        await page.keyboard.press("Space")
        await expect(page.get_by_role("switch").first).to_have_attribute(
            "aria-checked", "true", timeout=PATIENT
        )
        await page.keyboard.press("Space")
        await expect(page.get_by_role("switch").first).to_have_attribute(
            "aria-checked", "false", timeout=PATIENT
        )
        await tab_to(page, "[name=title]")
        await page.keyboard.press("Control+A")
        await page.keyboard.type("by keyboard")
        await page.keyboard.press("Enter")
        await expect(page.locator("#card-title")).to_have_text("by keyboard", timeout=PATIENT)
        await tab_to(page, ".readers button")
        await page.keyboard.press("Enter")
        alex = page.locator(".readers li", has_text="gp-alex").locator(".reads > [lang]")
        await expect(alex).to_have_text("已完成", timeout=PATIENT)
        assert await page.evaluate("document.activeElement.matches('.readers button, #card-title')")


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_axe_finds_nothing_grave(browser: Browser, running: Up, locale: str, width: int) -> None:
    async with opened(browser, running.page, width=width, locale=locale) as page:
        await expect(page.locator("#live.good")).to_be_visible(timeout=PATIENT)
        if await page.locator("#empty").is_visible():
            assert await violations(page) == []
            await page.click("#first")
        await expect(page.locator("#card-body .chip")).not_to_be_empty(timeout=PATIENT)
        for view in ("chat", "card", "new", "faults") if width == NARROW else ("",):
            if view:
                await page.click(f"[data-goto={view}]")
                await expect(page.locator(f"#{view}")).to_be_visible()
            assert await violations(page) == []
            assert not await overflows(page)


async def test_without_a_gateway_the_page_says_what_to_do_and_comes_back_after_a_restart(
    browser: Browser,
) -> None:
    async with AsyncExitStack() as stack:

        async def started(port: int = 0) -> SimulatorServer:
            simulator = SimulatorServer(port=port)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            return simulator

        first = await started()
        page = await stack.enter_async_context(opened(browser, first.url, forgiven=("ERR_", "502")))
        await expect(page.locator("#empty")).to_be_visible(timeout=PATIENT)
        await expect(page.locator("#first")).to_be_disabled()
        await expect(page.locator(".needs")).to_contain_text("LIVECARD_SIMULATOR_GATEWAY", timeout=PATIENT)
        await first.stop()
        await expect(page.locator("#live.bad")).to_be_visible(timeout=PATIENT)
        again = await started(first.port)
        again.acting.through("http://127.0.0.1:9", "a-key")
        await expect(page.locator("#live.good")).to_be_visible(timeout=PATIENT)
        await expect(page.locator(".needs")).to_be_hidden(timeout=PATIENT)
        await page.click("#first")
        await expect(page.locator("#opened.bad")).to_contain_text("http://127.0.0.1:9", timeout=PATIENT)
