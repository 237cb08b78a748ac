"""The stage plays the platform's part: what `wx` refuses, and what a page's script finds on a telephone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from contracts.wechat import TEMPLATE_IDS
from services.simulator.app import SimulatorServer
from tests.examples.stage import Stage, needs_npm, stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_npm,
]

FILES: Final = {
    "app.json": msgspec.json.encode(
        {
            "pages": ["pages/home"],
            "subPackages": [{"root": "tool", "pages": ["page"], "independent": True, "entry": "entry.js"}],
            "chatTools": [{"root": "tool", "entryPagePath": "page"}],
        }
    ).decode(),
    "app.js": "App({ globalData: { name: 'home' } })",
    "pages/home.json": "{}",
    "pages/home.wxml": "<view>{{greeting}}</view><button bindtap='enter' disabled='{{busy}}'>enter</button>",
    "pages/home.js": """
        Page({
          data: { greeting: "", busy: false },
          onLoad() { this.setData({ greeting: getApp().globalData.name }) },
          enter() {
            this.setData({ busy: true })
            wx.openChatTool({ url: "/tool/page?a=1%202", roomid: "g-1" })
          },
        })""",
    "tool/entry.js": "",
    "tool/page.json": "{}",
    "tool/page.wxml": "<text>{{found}}</text>",
    "tool/page.js": """
        Page({
          data: { found: "" },
          onLoad(query) {
            let outside = "reached"
            try { require("../app.js") } catch (error) { outside = "kept out" }
            this.setData({ found: [query.a, typeof window, typeof process, outside].join(" ") })
          },
        })""",
}
MENU: Final = {
    "withShareTicket": True,
    "isUpdatableMessage": True,
    "useForChatTool": True,
    "activityId": "a-1",
    "chooseType": 1,
    "participant": ["gp-alex"],
    "templateInfo": {"templateId": TEMPLATE_IDS["complete"], "parameterList": []},
}
REMINDER: Final = {"title": "团建", "members": ["gp-alex"], "entrancePath": "tool/page", "type": "complete"}
REFUSED: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "another mini program": ("navigateToMiniProgram", {"appId": "wx2"}, "not allowed"),
    "an article": ("openOfficialAccountArticle", {"url": "https://a"}, "not allowed"),
    "another kind of card": (
        "updateShareMenu",
        {**MENU, "withShareTicket": False},
        "must be true",
    ),
    "a card for nobody": ("updateShareMenu", {**MENU, "participant": []}, "participant is empty"),
    "a card for a stranger": ("updateShareMenu", {**MENU, "participant": ["gp-eve"]}, "invalid group"),
    "a choice that there is not": ("updateShareMenu", {**MENU, "chooseType": 3}, "invalid chooseType"),
    "its own template": (
        "updateShareMenu",
        {**MENU, "templateInfo": {"templateId": "x"}},
        "templateId",
    ),
    "an untitled card": (
        "shareAppMessageToGroup",
        {"path": "/a"},
        "instead of Undefined",
    ),
    "a path that is not whole": ("shareAppMessageToGroup", {"title": "a", "path": "a"}, "must start with /"),
    "a long reminder": ("notifyGroupMembers", {**REMINDER, "title": "团" * 16}, "too long"),
    "a reminder of nobody": ("notifyGroupMembers", {**REMINDER, "members": []}, "members is empty"),
    "a reminder to nowhere": (
        "notifyGroupMembers",
        {"title": "a", "members": ["gp-alex"]},
        "entrancePath",
    ),
    "a verb that there is not": ("notifyGroupMembers", {**REMINDER, "type": "do"}, "invalid type"),
    "a picture from the web": ("shareImageToGroup", {"imagePath": "https://a/b.png"}, "local path"),
    "a file without a path": ("shareFileToGroup", {}, "filePath should be String"),
    "a page outside the tool": ("navigateTo", {"url": "/pages/home"}, "no page of the chat tool"),
    "a tool inside the tool": ("openChatTool", {"url": "/tool/page", "roomid": "g-1"}, "already"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    simulator = SimulatorServer(apps={"wx1": "s1"})
    await simulator.start()
    room = {"appid": "wx1", "opengid": "g-1", "members": {"o-cindy": "gp-cindy", "o-alex": "gp-alex"}}
    async with aiohttp.ClientSession(simulator.url) as http:
        await http.post("/control/rooms", json=room)
    async with stage(FILES, tmp_path_factory.mktemp("stage"), simulator.url, "http://127.0.0.1:9") as running:
        yield running
    await simulator.stop()


async def test_a_page_is_loaded_as_on_a_telephone(played: Stage) -> None:
    """App first; the chat tool's subpackage apart, its query as it was written, no browser around it."""
    seen = await played.do("o-alex", "launch", url="/pages/home")
    assert seen["text"] == "home enter"
    seen = await played.do("o-alex", "tap", text="enter")
    assert (seen["path"], seen["text"]) == ("tool/page", "1%202 undefined undefined kept out")
    assert seen["category"] == "chatTool"
    seen = await played.do("o-alex", "back")
    assert (seen["path"], seen["category"]) == ("pages/home", "default")
    with pytest.raises(AssertionError, match='"enter" is disabled'):
        await played.do("o-alex", "tap", text="enter")


@pytest.mark.parametrize("what", REFUSED)
async def test_the_platform_refuses(played: Stage, what: str) -> None:
    method, options, reason = REFUSED[what]
    await played.do("o-cindy", "launch", url="/tool/page", tool={"rooms": ["g-1"], "selected": []})
    seen = await played.do("o-cindy", "wx", method=method, options=options)
    assert seen["told"]["errMsg"].startswith(f"{method}:fail ")
    assert reason in seen["told"]["errMsg"]


async def test_outside_a_chat_its_calls_are_refused(played: Stage) -> None:
    await played.do("o-cindy", "launch", url="/pages/home")
    for method, options in {
        "getChatToolInfo": {},
        "getGroupEnterInfo": {},
        "getShareInfo": {"shareTicket": "made-up"},
        "selectGroupMembers": {},
        "updateShareMenu": MENU,
        "shareAppMessageToGroup": {"title": "a"},
        "notifyGroupMembers": REMINDER,
        "exitChatTool": {},
    }.items():
        seen = await played.do("o-cindy", "wx", method=method, options=options)
        assert seen["told"]["errMsg"].startswith(f"{method}:fail "), method


async def test_in_the_open_mode_a_send_names_a_group_that_was_selected(played: Stage) -> None:
    await played.do("o-cindy", "launch", url="/pages/home")
    entered = {"chatToolRooms": ["g-1"], "singleChatRoom": False}
    await played.do("o-cindy", "wx", method="enterChatToolMode", options=entered)
    card = {"title": "a", "path": "/tool/page"}
    for options in (card, {**card, "opengid": "g-1"}):
        seen = await played.do("o-cindy", "wx", method="shareAppMessageToGroup", options=options)
        assert "opengid" in seen["told"]["errMsg"]
    await played.do("o-cindy", "wx", method="selectGroups", options={})
    seen = await played.do(
        "o-cindy", "wx", method="shareAppMessageToGroup", options={**card, "opengid": "g-1"}
    )
    assert seen["told"]["errMsg"] == "shareAppMessageToGroup:ok"
