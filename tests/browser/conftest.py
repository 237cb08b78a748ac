"""A headless Chromium for each module; its tests run on the module's event loop:

`pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from scripts.engines import npm
from scripts.engines.chromium import chromium, missing
from tests.engines.support import REQUIRED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The browser; a test opens pages of its own in it (tests/browser/pages.py)."""
    if reason := missing() or npm.missing():
        if REQUIRED:
            pytest.fail(f"the browser is required by LIVECARD_REQUIRE_ENGINES: {reason}", pytrace=False)
        pytest.skip(f"CHROMIUM IS MISSING: {reason}")
    async with chromium() as running:
        yield running
