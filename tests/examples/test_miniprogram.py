"""The example mini program, run on its stage: real pages, backend, gateway, and the simulator's chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from scripts.patience import PATIENCE
from tests.e2e.line import free_port
from tests.e2e.up import Up, up
from tests.examples.stage import Stage, backend, compiled, needs_npm, stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    needs_npm,
]

HOME = "/pages/home/home"
LIST = "/tool/pages/list/list"
ACTIVITY = "/tool/pages/activity/activity"
SENDS = {
    "发送文字": "text",
    "发送图片": "image",
    "发送视频": "video",
    "发送文件": "file",
    "发送表情": "emoji",
}
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
        async with asyncio.timeout(PATIENCE):
            while not found(card := (await self.up.cards())[0]):
                pass
        return card


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compiled(tmp_path_factory.mktemp("build"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def playing(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Playing]:
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


async def published(playing: Playing, phone: str, title: str, *, choose: bool = True) -> Any:
    """From the tool's list to a card in the chat; what the chat was sent."""
    await playing.stage.tap(phone, "发起任务")
    await playing.stage.do(phone, "type", on=".field", value=title)
    if choose:
        await playing.stage.tap(phone, "选择参与的人")
    await playing.stage.tap(phone, "发到聊天")
    await playing.stage.sees(phone, title)
    return (await playing.stage.said())[-1]


async def test_a_task_in_a_group(playing: Playing) -> None:
    """Enter, bind, choose members, create, share, complete, remind, end; and what each viewer reads."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME, **{"from": "g-1"})
    seen = await stage.tap("o-cindy", "进入来时的聊天")
    assert (seen["category"], seen["path"]) == ("chatTool", "tool/pages/list/list")
    await stage.do("o-cindy", "pick", picks={"members": ["gp-alex", "gp-bob"]})
    sent = await published(playing, "o-cindy", "团建报名")
    card = await playing.card()
    assert (card["activity_id"], card["publisher"]) == (sent["activity"], "gp-cindy")
    assert reads(card) == ("0人已完成", {"gp-alex": "未完成", "gp-bob": "未完成"}, "你无需完成")

    await stage.do("o-alex", "launch", url=sent["path"], tool=IN_G1)
    await stage.tap("o-alex", "我已完成")
    card = await playing.card(lambda card: card["done"] == ["gp-alex"])
    assert reads(card) == ("1人已完成", {"gp-alex": "已完成", "gp-bob": "未完成"}, "你无需完成")
    assert [each["text"] for each in card["chat"]] == ["alex 已完成 cindy 发布的 团建报名"]
    await stage.tap("o-alex", "刷新")
    assert "我已完成" not in (await stage.sees("o-alex", "你已完成"))["text"]
    await stage.do("o-dora", "launch", url=sent["path"], tool=IN_G1)
    await stage.sees("o-dora", "你无需完成")

    await stage.tap("o-cindy", "刷新")
    await stage.sees("o-cindy", "1 人已完成，共 2 人")
    await stage.tap("o-cindy", "提醒他们")
    await stage.sees("o-cindy", "已提醒")
    reminder = (await stage.said())[-1]
    assert (reminder["kind"], reminder["members"]) == ("reminder", ["gp-bob"])
    await stage.do("o-bob", "launch", url=reminder["path"], tool=IN_G1)
    await stage.sees("o-bob", "你还没有完成")
    await stage.tap("o-bob", "结束任务")
    await stage.sees("o-bob", "请发起人操作")

    await stage.tap("o-cindy", "结束任务")
    card = await playing.card(lambda card: card["target_state"] == 3)
    assert reads(card) == ("已结束", {"gp-alex": "已结束", "gp-bob": "已结束"}, "已结束")
    await stage.tap("o-bob", "刷新")
    assert "我已完成" not in (await stage.sees("o-bob", "已结束"))["text"]
    await stage.do("o-cindy", "back")
    assert "团建报名" in (await stage.look("o-cindy"))["text"]
    seen = await stage.tap("o-cindy", "退出")
    assert (seen["category"], seen["path"]) == ("default", "pages/home/home")


@pytest.mark.parametrize("only_other", [True, False])
async def test_in_a_chat_of_two(playing: Playing, only_other: bool) -> None:
    """WeChat may name both people, or only the other one."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME, **{"from": "s-1"})
    await stage.do("o-cindy", "pick", picks={"onlyOther": only_other})
    await stage.tap("o-cindy", "进入来时的聊天")
    await published(playing, "o-cindy", "一起午饭")
    card = await playing.card()
    assert card["publisher"] == "s1-cindy"
    assert "s1-alex" in card["viewers"]["participants"]


async def test_several_groups_each_send_to_one(playing: Playing) -> None:
    """The open mode: bound to two groups, every card goes to the one that was chosen."""
    stage = playing.stage
    await stage.do("o-cindy", "launch", url=HOME)
    await stage.do("o-cindy", "pick", picks={"rooms": ["g-1", "g-2"], "groups": ["g-1"]})
    await stage.tap("o-cindy", "选择多个群")
    for room, publisher in (("g-1", "gp-cindy"), ("g-2", "g2-cindy")):
        await stage.do("o-cindy", "pick", picks={"groups": [room]})
        sent = await published(playing, "o-cindy", f"任务 {room}", choose=False)
        assert (sent["room"], (await playing.card())["publisher"]) == (room, publisher)
        await stage.do("o-cindy", "back")
        await stage.tap("o-cindy", "发送内容到聊天")
        await stage.tap("o-cindy", "选择文字发到哪个群")
        await stage.tap("o-cindy", "发送图片")
        await stage.sees("o-cindy", "已发送")
        await stage.do("o-cindy", "type", on=".field", value="记得报名")
        await stage.tap("o-cindy", "发送文字")
        assert [(each["kind"], each["room"]) for each in (await stage.said())[-2:]] == [
            ("image", room),
            ("text", room),
        ]
        await stage.do("o-cindy", "back")
    seen = await stage.tap("o-cindy", "退出")
    assert (seen["category"], seen["path"]) == ("default", "pages/home/home")


async def test_the_older_way_by_a_share_ticket(playing: Playing) -> None:
    """wx.getShareInfo names the chat and nobody in it: who it is comes from the newer call."""
    seen = await playing.stage.do("o-alex", "launch", url=HOME, ticket="t-1", **{"from": "g-1"})
    assert "getShareInfo" in seen["calls"]
    await playing.stage.sees("o-alex", "已认出你来时的群聊")


async def test_everything_that_can_be_sent(playing: Playing) -> None:
    stage = playing.stage
    await stage.do("o-alex", "launch", url=LIST, tool=IN_G1)
    await stage.tap("o-alex", "发送内容到聊天")
    await stage.do("o-alex", "type", on=".field", value="记得报名")
    for text, kind in SENDS.items():
        await stage.tap("o-alex", text)
        await stage.sees("o-alex", "已发送")
        assert (await stage.said())[-1]["kind"] == kind


async def test_what_goes_wrong_ends_in_a_sentence(playing: Playing) -> None:
    """The backend away, a session over, WeChat refusing, the user cancelling: no exception, and a way on."""
    stage = playing.stage
    await stage.do("o-bob", "launch", url=LIST)
    await stage.sees("o-bob", "请从聊天里打开")
    await stage.move(f"http://127.0.0.1:{free_port()}")
    await stage.do("o-bob", "launch", url=f"{ACTIVITY}?id=none", tool=IN_G1)
    await stage.sees("o-bob", "连接不上服务")
    await stage.move(playing.address)
    await stage.tap("o-bob", "刷新")
    await stage.sees("o-bob", "找不到这个任务")
    await stage.do("o-bob", "pick", faults={"getChatToolInfo": "65206 the user left the group"})
    await stage.do("o-bob", "launch", url=LIST, tool=IN_G1)
    await stage.sees("o-bob", "微信没有完成这一步")
    await stage.do("o-bob", "pick", faults={"getChatToolInfo": ""}, picks={"members": None})
    await stage.tap("o-bob", "发起任务")
    seen = await stage.tap("o-bob", "选择参与的人")
    assert seen["data"]["problem"] == ""


async def test_a_session_that_is_over_begins_again(playing: Playing, tmp_path: Path) -> None:
    """A backend that was started anew knows no token: the page logs in again, and nobody notices."""
    stage = playing.stage
    await stage.do("o-alex", "launch", url=LIST, tool=IN_G1)
    await stage.tap("o-alex", "发起任务")
    async with backend(playing.up.gateway, playing.up.key, tmp_path / "log") as address:
        await stage.move(address)
        await stage.do("o-alex", "type", on=".field", value="新会话")
        await stage.tap("o-alex", "发到聊天")
        await stage.sees("o-alex", "新会话")
    await stage.move(playing.address)
    assert (await playing.card())["title"] == "新会话"
