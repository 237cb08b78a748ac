"""The example backends do what they show, over a bad line, each where its toolchain is found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio

from scripts.diagrams.snippets import PROGRAMS, heart
from scripts.patience import PATIENCE
from tests.e2e.up import Up, up
from tests.examples.bad_line import bad_line
from tests.examples.tools import SHORT_LIVED, needed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

NEEDS = {
    "python": ("python3", (3, 11), []),
    "java": ("java", (11,), [*SHORT_LIVED]),
    "go": ("go", (1, 24), ["run"]),
    "javascript": ("node", (18,), []),
}
"""The tool, its oldest version, and what stands before the file that it runs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    async with up(tmp_path_factory.mktemp("up")) as found:
        yield found


async def page_posts(running: Up, language: str) -> bytes:
    """What the page of Alex posts, in a room of its own."""
    room = {"appid": "wx1", "opengid": f"g-{language}"}
    async with httpx.AsyncClient(base_url=running.page) as simulator:
        members = {"o-alex": f"alex-{language}", "o-bob": "gp-bob"}
        await simulator.post("/control/rooms", json={**room, "members": members})
        asked = await simulator.post("/control/page", json={**room, "openid": "o-alex", "login": True})
        return asked.raise_for_status().content


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_backend_gets_its_card_told_once_over_a_bad_line(running: Up, language: str) -> None:
    """The creation's answer is lost, its second try turned away, the stream cut: one card, told once."""
    tool, oldest, options = NEEDS[language]
    command = [needed(tool, oldest), *options, str(PROGRAMS[language])]
    posted = await page_posts(running, language)
    async with bad_line(running.gateway) as (line, address):
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, "GATEWAY_URL": address, "GATEWAY_KEY": running.key},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(posted), PATIENCE)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()
    share_menu, notify = (msgspec.json.decode(each) for each in out.splitlines())
    (card,) = [each for each in await running.cards() if f"alex-{language}" in each["done"]]
    assert share_menu["activityId"] == card["activity_id"]
    assert {*share_menu["participant"]} == {f"alex-{language}", "gp-bob"}
    assert len(card["chat"]) == 1
    assert notify == {
        "title": "团建报名统计",
        "members": ["gp-bob"],
        "entrancePath": "/pages/task",
        "type": "complete",
    }
    assert (len(line.keys), len({*line.keys})) == (3, 1)
    assert line.resumed == [None, line.cut_after]


@pytest.mark.parametrize("language", PROGRAMS)
async def test_both_readmes_show_the_heart_of_each_program(language: str) -> None:
    root = Path(__file__).parents[2]
    block = f"```{language}\n{heart(PROGRAMS[language].read_text('utf-8'))}\n```"
    for page in ("README.md", "README.zh-CN.md"):
        assert block in (root / page).read_text("utf-8")


async def test_a_program_without_marks_is_told() -> None:
    assert heart("a\n  # README begins\n  b\n    c\n  # README ends\nd") == "b\n  c"
    with pytest.raises(ValueError, match="README begins"):
        heart("a")
