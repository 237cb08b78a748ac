"""The example backends do what they show, over a bad line, each where its toolchain is found."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio

from scripts.diagrams.snippets import PROGRAMS, heart
from scripts.patience import PATIENCE
from tests.e2e.up import Up, up
from tests.examples.bad_line import BadLine, bad_line
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


async def page_posts(running: Up, alex: str) -> bytes:
    """What the page of Alex, this group_openid, posts, in a room of its own."""
    room = {"appid": "wx1", "opengid": f"g-{alex}"}
    async with httpx.AsyncClient(base_url=running.page) as simulator:
        members = {"o-alex": alex, "o-bob": "gp-bob"}
        await simulator.post("/control/rooms", json={**room, "members": members})
        asked = await simulator.post("/control/page", json={**room, "openid": "o-alex", "login": True})
        return asked.raise_for_status().content


async def run(running: Up, language: str, alex: str, *, mute: bool = False) -> BadLine:
    """Run the program over a bad line to its end, check what it hands the page, and hand on the line."""
    tool, oldest, options = NEEDS[language]
    command = [needed(tool, oldest), *options, str(PROGRAMS[language])]
    posted = await page_posts(running, alex)
    async with bad_line(running.gateway, mute=mute) as (line, address):
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, "GATEWAY_URL": address, "GATEWAY_KEY": running.key},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what `go run` started ends with it
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(posted), PATIENCE)
        except TimeoutError as hung:
            hung.add_note(f"the program hangs at {line}")
            raise
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    assert process.returncode == 0, f"{err.decode()} at {line}"
    share_menu, notify = (msgspec.json.decode(each) for each in out.splitlines())
    (card,) = [each for each in await running.cards() if alex in each["done"]]
    assert share_menu["activityId"] == card["activity_id"]
    assert {*share_menu["participant"]} == {alex, "gp-bob"}
    assert len(card["chat"]) == 1
    assert notify == {
        "title": "团建报名统计",
        "members": ["gp-bob"],
        "entrancePath": "/pages/task",
        "type": "complete",
    }
    return line


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_backend_gets_its_card_told_once_over_a_bad_line(running: Up, language: str) -> None:
    """The creation's answer is lost, its second try turned away, the stream cut: one card, told once."""
    line = await run(running, language, f"alex-{language}")
    assert (len(line.keys), len({*line.keys})) == (3, 1)
    assert line.resumed == [None, line.cut_after]


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_backend_ends_where_a_second_snapshot_already_tells_it(running: Up, language: str) -> None:
    """The stream is cut before any change came, and WeChat is told meanwhile: no change is left to come."""
    line = await run(running, language, f"sam-{language}", mute=True)
    assert line.resumed == [None, None]


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
