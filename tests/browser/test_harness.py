"""The harness sees what it is there to see."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.browser.pages import NARROW, opened, overflows, violations

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_faults_of_a_page_are_seen(browser: Browser) -> None:
    """A page without a title or a language, with an image that says nothing, too wide for a telephone."""
    async with opened(browser, "about:blank", width=NARROW) as page:
        await page.set_content("<main><img src='data:,' width=500 height=9></main>")
        assert await overflows(page)
        assert {each.partition(":")[0] for each in await violations(page)} >= {
            "document-title",
            "html-has-lang",
            "image-alt",
        }


async def test_what_a_script_throws_fails_the_test(browser: Browser) -> None:
    async def visit() -> None:
        async with opened(browser, "about:blank") as page:
            await page.evaluate("setTimeout(() => { throw new Error('no such thing') })")
            await page.wait_for_function("true")

    with pytest.raises(AssertionError, match="no such thing"):
        await visit()
