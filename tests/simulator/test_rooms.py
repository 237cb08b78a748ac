"""Rooms of the simulator: logins, who is in a chat, and what a page is told, opened by OpenSSL's command."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import Any

import pytest

from contracts.wechat import CODE2SESSION_PATH

START_S = 1_795_248_000


async def log_in(client: Any, openid: str = "o-alex", appid: str = "wx1", secret: str = "s1") -> str:
    """The session key of this user's login."""
    made = await client.post("/control/codes", {"appid": appid, "openid": openid})
    return await exchanged(client, made["code"], openid, appid, secret)


async def exchanged(client: Any, code: str, openid: str, appid: str = "wx1", secret: str = "s1") -> str:
    """The session key that WeChat answers for a code of this user's."""
    query = {"appid": appid, "secret": secret, "js_code": code, "grant_type": "authorization_code"}
    answer = await client.get(CODE2SESSION_PATH, **query)
    assert answer["openid"] == openid
    return str(answer["session_key"])


def opened(given: dict[str, str], session_key: str) -> Any:
    """By `openssl enc -d`, as a backend of somebody's would."""
    command = shutil.which("openssl")
    if command is None:
        pytest.skip("there is no openssl command")
    key, iv = (base64.b64decode(each).hex() for each in (session_key, given["iv"]))
    words = [command, "enc", "-d", "-aes-128-cbc", "-K", key, "-iv", iv]
    data = base64.b64decode(given["encryptedData"])
    return json.loads(subprocess.run(words, input=data, capture_output=True, check=True).stdout)


async def test_a_page_is_told_the_room_and_who_its_user_is_there(client: Any) -> None:
    room = {"appid": "wx1", "opengid": "g-1", "members": {"o-alex": "gp-alex", "o-bob": "gp-bob"}}
    await client.post("/control/rooms", room)
    session_key = await log_in(client)
    wish = {"appid": "wx1", "opengid": "g-1", "openid": "o-alex"}
    watermark = {"appid": "wx1", "timestamp": START_S}
    inside = {"opengid": "g-1", "group_openid": "gp-alex", "chat_type": 3}
    for call in ("getChatToolInfo", "getGroupEnterInfo"):
        told = await client.post("/control/page", {**wish, "call": call})
        assert opened(told, session_key) == {**inside, "watermark": watermark}
    told = await client.post("/control/page", {**wish, "watermark": False})
    assert opened(told, session_key) == inside
    told = await client.post("/control/page", {**wish, "call": "getShareInfo"})
    assert opened(told, session_key) == {"openGId": "g-1", "watermark": watermark}


async def test_a_page_that_logs_in_is_given_all_that_it_posts(client: Any) -> None:
    """Before its backend exchanged the code; the login before opens nothing new."""
    name = {"appid": "wx1", "opengid": "g-1"}
    await client.post("/control/rooms", {**name, "members": {"o-alex": "gp-alex"}})
    before = await log_in(client)
    posted = await client.post("/control/page", {**name, "openid": "o-alex", "login": True})
    assert {*posted} == {"js_code", "encryptedData", "iv"}
    session_key = await exchanged(client, posted["js_code"], "o-alex")
    assert session_key != before
    assert opened(posted, session_key)["group_openid"] == "gp-alex"


async def test_a_chat_of_two_has_another_id(client: Any) -> None:
    name = {"appid": "wx1", "open_single_roomid": "r-1"}
    await client.post("/control/rooms", {**name, "members": {"o-alex": "gp-1"}})
    told = await client.post("/control/page", {**name, "openid": "o-alex"} | {"watermark": False})
    assert "has not logged in" in told["error"]
    session_key = await log_in(client)
    told = await client.post("/control/page", {**name, "openid": "o-alex"} | {"watermark": False})
    assert opened(told, session_key) == {"open_single_roomid": "r-1", "group_openid": "gp-1", "chat_type": 1}


async def test_people_come_and_the_list_says_who_is_where(client: Any) -> None:
    name = {"appid": "wx1", "opengid": "g-1"}
    await client.post("/control/rooms", {**name, "members": {"o-alex": "gp-alex"}, "chat_type": 4})
    await client.post("/control/rooms", {**name, "members": {"o-bob": "gp-bob"}})
    (room,) = (await client.get("/control/rooms"))["rooms"]
    members = {"o-alex": "gp-alex", "o-bob": "gp-bob"}
    assert room == {**name, "open_single_roomid": None, "chat_type": 4, "members": members}
    await client.post("/control/reset")
    assert (await client.get("/control/rooms"))["rooms"] == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/control/rooms", {"appid": "wx1"}, "name one of"),
        ("/control/rooms", {"appid": "wx1", "opengid": "g", "open_single_roomid": "r"}, "name one of"),
        ("/control/rooms", {"appid": "wx1", "opengid": "g", "chat_type": 9}, "chat_type"),
        ("/control/page", {"appid": "wx1", "opengid": "g-2", "openid": "o-alex"}, "65206"),
        ("/control/page", {"appid": "wx1", "opengid": "g-1", "openid": "o-alex", "call": "x"}, "call"),
        ("/control/codes", {"appid": "wx1", "colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_is_400(client: Any, path: str, body: Any, said: str) -> None:
    await log_in(client)
    async with client.http.post(path, json=body) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]


async def test_a_login_makes_the_key_of_the_one_before_useless(client: Any) -> None:
    """`session_key` may change at any `wx.login`."""
    await client.post("/control/rooms", {"appid": "wx1", "opengid": "g-1", "members": {"o-alex": "gp"}})
    first, second = [await log_in(client) for _ in "ab"]
    assert first != second
    told = await client.post("/control/page", {"appid": "wx1", "opengid": "g-1", "openid": "o-alex"})
    assert opened(told, second)["group_openid"] == "gp"


async def test_a_named_code_is_that_code(client: Any) -> None:
    made = await client.post("/control/codes", {"appid": "wx1", "openid": "o", "code": "c-1"})
    assert made == {"code": "c-1"}
