"""The example mini program, run on its stage: real pages, backend, gateway, and the simulator's chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from scripts.engines.npm import missing
from tests.e2e.line import free_port
from tests.e2e.up import Up, up
from tests.examples.stage import Stage, backend, compiled, stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

HOME = "/pages/home/home"
TASK = "/tool/pages/task/task"
ROOMS = {
    "g-1": {"o-cindy": "gp-cindy", "o-alex": "gp-alex", "o-bob": "gp-bob", "o-dora": "gp-dora"},
    "g-2": {"o-cindy": "g2-cindy", "o-alex": "g2-alex"},
    "s-1": {"o-cindy": "s1-cindy", "o-alex": "s1-alex"},
}
IN_G1 = {"rooms": ["g-1"], "open": False, "selected": []}


@dataclass(frozen=True)
class Playing:
    """All of it: `up` has lifecycle, dispatcher, gateway and simulator; `address` is the backend's."""

    stage: Stage
    up: Up
    address: str

    async def card(self, found: Callable[[Any], bool] = lambda card: True) -> Any:
        """The newest card, once it looks so."""
        while not found(card := (await self.up.cards())[0]):
            pass
        return card


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compiled(tmp_path_factory.mktemp("build"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def playing(
    files: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Playing]:
    folder: Path = tmp_path_factory.mktemp("up")
    async with up(folder) as running, backend(running.gateway, running.key, folder / "backend") as address:
        async with httpx.AsyncClient(base_url=running.page) as simulator:
            for room, members in ROOMS.items():
                kind = "open_single_roomid" if room.startswith("s-") else "opengid"
                await simulator.post("/control/rooms", json={"appid": "wx1", kind: room, "members": members})
        async with stage(files, folder, running.page, address) as found:
            yield Playing(found, running, address)


def reads(card: Any) -> tuple[str, dict[str, str], str]:
    """What the chat shows publisher, participants, and the others."""
    viewers = card["viewers"]
    return viewers["publisher"], viewers["participants"], viewers["others"]


async def test_a_task_in_a_group(playing: Playing) -> None:
    """Enter, bind, choose members, create, share, complete, remind, end; and what each viewer reads."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME, **{"from": "g-1"})
    seen = await stage.do("o-cindy", "tap", text="进入当前群聊")
    assert seen["category"] == "chatTool"
    await stage.do("o-cindy", "pick", picks={"members": ["gp-alex", "gp-bob"]})
    await stage.do("o-cindy", "tap", text="选择参与的人")
    seen = await stage.do("o-cindy", "tap", text="发给选中的人")
    card, sent = await playing.card(), (await stage.said())[-1]
    assert (card["activity_id"], card["publisher"]) == (sent["activity"], "gp-cindy")
    assert reads(card) == ("0人已完成", {"gp-alex": "未完成", "gp-bob": "未完成"}, "你无需完成")

    await stage.do("o-alex", "launch", url=sent["path"], tool=IN_G1)
    await stage.do("o-alex", "tap", text="我已完成")
    await stage.sees("o-alex", "你已完成")
    card = await playing.card(lambda card: card["done"] == ["gp-alex"])
    assert reads(card) == ("1人已完成", {"gp-alex": "已完成", "gp-bob": "未完成"}, "你无需完成")
    assert [each["text"] for each in card["chat"]] == ["alex 已完成 cindy 发布的 团建报名"]
    seen = await stage.do("o-dora", "launch", url=sent["path"], tool=IN_G1)
    assert "你无需完成" in seen["text"]

    await stage.do("o-cindy", "tap", text="提醒没完成的人")
    reminder = (await stage.said())[-1]
    assert (reminder["kind"], reminder["members"]) == ("reminder", ["gp-bob"])
    seen = await stage.do("o-bob", "launch", url=reminder["path"], tool=IN_G1)
    assert "你还未完成" in seen["text"]

    await stage.do("o-cindy", "tap", text="结束")
    card = await playing.card(lambda card: card["target_state"] == 3)
    assert reads(card) == ("已结束", {"gp-alex": "已结束", "gp-bob": "已结束"}, "已结束")
    seen = await stage.do("o-bob", "tap", text="刷新")
    assert "我已完成" not in seen["text"]
    seen = await stage.do("o-cindy", "tap", text="离开")
    assert seen["category"] == "default"


@pytest.mark.parametrize("only_other", [True, False])
async def test_in_a_chat_of_two(playing: Playing, only_other: bool) -> None:
    """WeChat may name both people, or only the other one."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME, **{"from": "s-1"})
    await stage.do("o-cindy", "pick", picks={"onlyOther": only_other})
    await stage.do("o-cindy", "tap", text="进入当前群聊")
    await stage.do("o-cindy", "tap", text="选择参与的人")
    await stage.do("o-cindy", "tap", text="发给选中的人")
    card = await playing.card()
    assert card["publisher"] == "s1-cindy"
    assert "s1-alex" in card["viewers"]["participants"]


async def test_several_groups_each_send_to_one(playing: Playing) -> None:
    """The open mode: bound to two groups, every card goes to the one that was chosen."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME)
    await stage.do("o-cindy", "pick", picks={"rooms": ["g-1", "g-2"]})
    await stage.do("o-cindy", "tap", text="同时进入多个群聊")
    for room, publisher in (("g-1", "gp-cindy"), ("g-2", "g2-cindy")):
        await stage.do("o-cindy", "pick", picks={"groups": [room]})
        await stage.do("o-cindy", "tap", text="选择发往哪个群")
        await stage.do("o-cindy", "tap", text="发给所有人")
        assert ((await stage.said())[-1]["room"], (await playing.card())["publisher"]) == (room, publisher)
        await stage.do("o-cindy", "tap", text="发文字")
        assert (await stage.said())[-1]["room"] == room
    seen = await stage.do("o-cindy", "tap", text="离开")
    assert seen["category"] == "default"


async def test_the_older_way_by_a_share_ticket(playing: Playing) -> None:
    """wx.getShareInfo names the chat and nobody in it: who it is comes from the newer call."""
    stage = playing.stage
    seen = await stage.do("o-alex", "launch", url=HOME, ticket="t-1", **{"from": "g-1"})
    assert "g-1" in seen["text"]
    assert "getShareInfo" in seen["calls"]


async def test_everything_that_can_be_sent(playing: Playing) -> None:
    stage = playing.stage
    await stage.do("o-alex", "launch", url=TASK, tool=IN_G1)
    for text, kind in (("发文字", "text"), ("发图片", "image"), ("发视频", "video"), ("发文件", "file"), ("发表情", "emoji")):
        await stage.do("o-alex", "tap", text=text)
        assert (await stage.said())[-1]["kind"] == kind


async def test_what_goes_wrong_ends_in_a_sentence(playing: Playing) -> None:
    """The backend away, a session over, WeChat refusing, the user cancelling: no exception, and a way on."""
    stage = playing.stage
    await stage.move(f"http://127.0.0.1:{free_port()}")
    seen = await stage.do("o-bob", "launch", url=TASK, tool=IN_G1)
    assert "服务暂时连接不上" in seen["text"]
    await stage.move(playing.address)
    seen = await stage.do("o-bob", "tap", text="重试")
    assert "发起一个" in seen["text"]
    await stage.do("o-bob", "pick", picks={"members": None})
    seen = await stage.do("o-bob", "tap", text="选择参与的人")
    assert "已取消" in seen["text"]
