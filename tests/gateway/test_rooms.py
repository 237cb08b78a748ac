"""Logins, bindings, and who is known in a room; no session key and no session's id is kept in plain."""

from __future__ import annotations

import base64
import json
import sqlite3
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from contracts.decode import decode_structured
from contracts.events import Event
from contracts.times import DAY, HOUR, SECOND
from contracts.wechat import CODE2SESSION_PATH
from services.gateway.decrypt import NO_MEMBER, UNREADABLE
from services.gateway.session_keys import SessionKeys, hash_of
from services.gateway.times import moment
from services.simulator.rooms import PageWish, RoomWish
from services.store.rows import EVENTS
from tests.gateway.openssl import Given, given
from tests.gateway.platform import Stage
from tests.gateway.world import OTHER_KEY, SCOPE_KEYS
from tests.store.benches import START

LOGIN = "/v1/sessions"
BIND = "/v1/rooms/bind"
TOOL: dict[str, Any] = {"opengid": "g-1", "group_openid": "gp-alex", "chat_type": 3}


async def log_in(stage: Stage, openid: str = "o-alex", **more: Any) -> str:
    """A session of this user's."""
    stage.platform.admit(f"code-of-{openid}", openid, **more)
    body = {"appid": more.get("appid", "wx1"), "js_code": f"code-of-{openid}"}
    key = OTHER_KEY if body["appid"] == "wx2" else None
    answer = await (stage.client(key) if key else stage.api).post(LOGIN, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session"])


def key_of(stage: Stage, openid: str = "o-alex", appid: str = "wx1") -> bytes:
    """The session key that WeChat gave out last."""
    return stage.platform.model.rooms._keys[appid, openid]


async def bind(stage: Stage, session: str, made: Given, **more: Any) -> httpx.Response:
    body = {"session": session, "encryptedData": made.encrypted_data, "iv": made.iv, **more}
    return await stage.api.post(BIND, json=body)


async def test_a_login_gives_a_session_and_who_it_is(stage: Stage) -> None:
    stage.platform.admit("code-1", "o-alex", unionid="u-alex")
    answer = await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": "code-1"})
    assert answer.status_code == 201
    body = answer.json()
    assert {**body, "session": ""} == {"session": "", "openid": "o-alex", "unionid": "u-alex"}
    assert len(base64.urlsafe_b64decode(body["session"] + "=")) == 32
    row = await stage.scene.store.session(hash_of(body["session"]))
    assert row is not None
    assert (row.appid, row.openid, row.unionid) == ("wx1", "o-alex", "u-alex")
    stage.platform.admit("code-2", "o-bob")
    answer = await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": "code-2"})
    assert set(answer.json()) == {"session", "openid"}


async def test_a_code_that_is_none_is_refused_and_says_what_to_do(stage: Stage) -> None:
    stage.platform.admit("used", "o-alex")
    stage.platform.admit("blocked", None)
    await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": "used"})
    for code, status, said in (("made up", 401, "40029"), ("used", 401, "40163"), ("blocked", 403, "40226")):
        answer = await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": code})
        assert answer.status_code == status
        (error,) = answer.json()["errors"]
        assert error["path"] == "js_code"
        assert said in error["message"]


WAITS = {-1: "5", 45011: "60", 45009: "300", 40013: "60", 40125: "60", 7: "5"}
"""Seconds after which to try again, by what WeChat answered."""


async def test_a_login_that_wechat_does_not_do_is_503(stage: Stage) -> None:
    """A limit of the login is kept for itself; no card's gate is closed for one."""
    body = {"appid": "wx1", "js_code": "code-1"}
    for errcode, wait in WAITS.items():
        stage.platform.refuse(CODE2SESSION_PATH, errcode)
        stage.platform.asked.clear()
        stage.gateway.pauses._until.clear()
        answers = [await stage.api.post(LOGIN, json=body) for _ in "ab"]
        assert {(each.status_code, each.headers["retry-after"]) for each in answers} == {(503, wait)}
        assert len(stage.platform.asked) == (1 if errcode in (45009, 45011) else 2)
    assert all(not gate.reason for gate in await stage.scene.store.all_gates())


async def test_what_a_login_needs(stage: Stage) -> None:
    """A key of the app with the scope, a secret of the app, and a key to encrypt with."""
    stage.platform.admit("code-1")
    body = {"appid": "wx1", "js_code": "code-1"}
    for scope, key in SCOPE_KEYS.items():
        if scope != "rooms":
            assert (await stage.client(key).post(LOGIN, json=body)).status_code == 403
    assert (await stage.client(OTHER_KEY).post(LOGIN, json=body)).status_code == 403
    for wrong in (
        {},
        {"appid": "wx1"},
        {**body, "js_code": ""},
        {**body, "js_code": 7},
        {**body, "appid": "\n"},
    ):
        answer = await stage.api.post(LOGIN, json=wrong)
        assert (answer.status_code, len(answer.json()["errors"])) == (422, 1), wrong
    assert stage.platform.asked == []
    stage.gateway.apps.names = lambda appid: False  # type: ignore[method-assign]  # as a file without it
    answer = await stage.api.post(LOGIN, json=body)
    assert (answer.status_code, "LIVECARD_APPS_FILE" in answer.text) == (409, True)


async def test_an_app_whose_secret_somebody_else_keeps_has_no_sessions(stage: Stage) -> None:
    """Its token comes from a company's service or the cloud hosting; ids are asked for as ever."""
    stage.gateway.apps.keeps_secret = lambda appid: False  # type: ignore[method-assign]  # as a file without it
    answer = await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": "code-1"})
    assert (answer.status_code, "add its secret or secret_file" in answer.text) == (409, True)
    assert stage.platform.asked == []
    body = {"appid": "wx1", "template": "complete", "participants": ["gp-alex"]}
    assert (await stage.api.post("/v1/activities", json=body)).status_code == 201


async def test_without_a_key_to_encrypt_with_there_are_no_sessions(stage: Stage) -> None:
    """It is about how this livecard was set up, so it is no use to try again: 409, as without a secret."""
    session = await log_in(stage)
    assert stage.gateway.session_keys is not None
    stage.gateway.session_keys._keys.clear()
    answer = await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": "code-2"})
    assert (answer.status_code, "LIVECARD_SESSION_KEY_FILE" in answer.text) == (409, True)
    assert (await bind(stage, session, given(**TOOL))).status_code == 409


async def test_a_repeated_login_is_the_same_session_and_its_answer_is_kept_sealed(stage: Stage) -> None:
    """A code is good once, so the answer that got lost must be had again; by nobody who reads the store."""
    stage.platform.admit("code-1")
    body, keyed = {"appid": "wx1", "js_code": "code-1"}, {"idempotency-key": "k-1"}
    first, again = [await stage.api.post(LOGIN, json=body, headers=keyed) for _ in "ab"]
    assert (first.status_code, first.content) == (again.status_code, again.content) == (201, first.content)
    assert len(stage.platform.asked) == 1
    kept = "\n".join(everything_in(stage))
    assert first.json()["session"] not in kept
    assert "o-alex" in kept  # the openid is in the session's row


def everything_in(stage: Stage) -> list[str]:
    """Every row of every table, as text."""
    connection = sqlite3.connect(stage.bench._path)  # type: ignore[attr-defined]  # it is a file
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [repr(row) for table in tables for row in connection.execute(f'SELECT * FROM "{table}"')]
    connection.close()
    return rows


async def test_a_user_is_bound_to_the_member_of_the_room(stage: Stage) -> None:
    session = await log_in(stage)
    made = given(key=key_of(stage), **TOOL, watermark={"appid": "wx1", "timestamp": 1})
    answer = await bind(stage, session, made, nickname="小明", avatar_url="https://example.org/a.png")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "room": {"opengid": "g-1", "chat_type": 3},
        "group_openid": "gp-alex",
        "openid": "o-alex",
    }
    listed = (await stage.api.get("/v1/rooms/g-1/members", params={"appid": "wx1"})).json()
    assert listed == {
        "members": [
            {
                "group_openid": "gp-alex",
                "openid": "o-alex",
                "bound_at": moment(START),
                "nickname": "小明",
                "avatar_url": "https://example.org/a.png",
            }
        ],
        "next": None,
    }
    again = await bind(stage, session, given(key=key_of(stage), **TOOL))  # it keeps the name
    assert again.status_code == 200
    kept = (await stage.api.get("/v1/rooms/g-1/members", params={"appid": "wx1"})).json()
    assert kept["members"][0]["nickname"] == "小明"


async def test_a_chat_of_two_is_a_room_too(stage: Stage) -> None:
    session = await log_in(stage)
    content: dict[str, Any] = {"open_single_roomid": "r/1 %", "group_openid": "gp-bob", "chat_type": 1}
    answer = await bind(stage, session, given(key=key_of(stage), **content))
    assert answer.json()["room"] == {"open_single_roomid": "r/1 %", "chat_type": 1}
    path = f"/v1/rooms/{quote('r/1 %', safe='')}/members"
    listed = (await stage.api.get(path, params={"appid": "wx1"})).json()
    assert [(each["group_openid"], each["openid"]) for each in listed["members"]] == [("gp-bob", "o-alex")]
    assert set(listed["members"][0]) == {"group_openid", "openid", "bound_at"}


async def test_what_cannot_be_opened_is_one_sentence(stage: Stage) -> None:
    """Wrong key, wrong iv, cut, bad padding, another app's: nobody learns which."""
    session = await log_in(stage)
    key, other = key_of(stage), given(key=bytes(16), **TOOL)
    good = given(key=key, **TOOL)
    data = base64.b64decode(good.encrypted_data)
    wrong = [
        other,
        Given(good.encrypted_data, base64.b64encode(bytes(16)).decode()),
        Given(good.encrypted_data, "AAAA"),
        Given(base64.b64encode(data[:-16]).decode(), good.iv),
        Given(base64.b64encode(data[:-1]).decode(), good.iv),
        Given(base64.b64encode(data[:-1] + bytes([data[-1] ^ 1])).decode(), good.iv),
        given(key=key, **TOOL, watermark={"appid": "wx2"}),
    ]
    answers = [await bind(stage, session, each) for each in wrong]
    assert {(each.status_code, each.content) for each in answers} == {(422, answers[0].content)}
    assert answers[0].json()["detail"] == UNREADABLE
    assert (await stage.api.get("/v1/rooms/g-1/members", params={"appid": "wx1"})).status_code == 404
    assert (await bind(stage, session, good)).status_code == 200


async def test_a_room_without_a_member_binds_nobody(stage: Stage) -> None:
    """The older wx.getShareInfo tells the chat alone."""
    session = await log_in(stage)
    stage.platform.model.rooms.put(RoomWish(appid="wx1", opengid="g-1", members={"o-alex": "gp-alex"}))
    wish = PageWish(appid="wx1", opengid="g-1", openid="o-alex", call="getShareInfo")
    told = stage.platform.model.rooms.tell(stage.platform.clock.wall(), wish)
    answer = await bind(stage, session, Given(told.encrypted_data, told.iv))
    assert (answer.status_code, answer.json()["detail"]) == (422, NO_MEMBER)


async def test_sessions_end(stage: Stage) -> None:
    """After a day, with the key that they are sealed with, and never for another's key."""
    session = await log_in(stage)
    made = given(key=key_of(stage), **TOOL)
    body = {"session": session, "encryptedData": made.encrypted_data, "iv": made.iv}
    assert (await stage.client(OTHER_KEY).post(BIND, json=body)).status_code == 404
    assert (await stage.api.post(BIND, json={**body, "session": "made up"})).status_code == 401
    odd = json.dumps({**body, "session": "\ud800"})  # half of a pair, escaped
    assert (await stage.api.post(BIND, content=odd)).status_code in (400, 401)
    await stage.bench.advance(DAY / SECOND - 1)
    assert (await stage.api.post(BIND, json=body)).status_code == 200
    keys = stage.gateway.session_keys
    assert keys is not None
    rest, keys._keys = keys._keys, SessionKeys([bytes(32)], keys._chance)._keys
    assert (await stage.api.post(BIND, json=body)).status_code == 401
    keys._keys = rest
    await stage.bench.advance(1)
    answer = await stage.api.post(BIND, json=body)
    assert (answer.status_code, "wx.login" in answer.text) == (401, True)


async def test_sessions_that_are_over_are_pruned(stage: Stage) -> None:
    await log_in(stage)
    ages = {"inbox": DAY, "attempts": DAY, "activities": DAY, "bindings": DAY, "limit": 100}
    await stage.bench.advance(DAY / SECOND)
    assert (await stage.scene.store.prune(**ages))["sessions"] == 0
    await stage.bench.advance(HOUR / SECOND)
    assert (await stage.scene.store.prune(**ages))["sessions"] == 1


async def test_what_waited_for_the_binding_is_published_with_it(stage: Stage) -> None:
    await stage.scene.open("a-1", choose="listed", room={"opengid": "g-1"}, participants=["gp-alex"])
    await stage.scene.feed(stage.scene.event("participant.completed", "a-1", openids=["o-alex"]))
    session = await log_in(stage)
    kicked = stage.relay.kicked
    assert (await bind(stage, session, given(key=key_of(stage), **TOOL))).status_code == 200
    (row,) = [each for each in await stage.scene.outbox() if each.topic == EVENTS]
    event = decode_structured(row.body.encode())
    assert isinstance(event, Event)
    assert (event.activity_id, event.type) == ("a-1", "livecard.participant.completed")
    assert stage.relay.kicked == kicked + 1


async def test_bodies_of_a_binding_are_checked(stage: Stage) -> None:
    session = await log_in(stage)
    made = given(key=key_of(stage), **TOOL)
    body = {"session": session, "encryptedData": made.encrypted_data, "iv": made.iv}
    for change, path in (
        ({"session": 7}, "session"),
        ({"iv": None}, "iv"),
        ({"encryptedData": ""}, "encryptedData"),
        ({"encryptedData": "A" * (64 << 10) + "A"}, "encryptedData"),
        ({"nickname": "x" * 1001}, "nickname"),
        ({"nickname": "a\0b"}, "nickname"),
        ({"avatar_url": 7}, "avatar_url"),
    ):
        answer = await stage.api.post(BIND, json={**body, **change})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path), answer.text
        assert session not in answer.text


async def test_members_of_a_room_come_page_by_page_and_to_their_apps_keys_alone(stage: Stage) -> None:
    for n in range(5):
        session = await log_in(stage, f"o-{n}")
        content = {**TOOL, "group_openid": f"gp-{9 - n}"}
        assert (await bind(stage, session, given(key=key_of(stage, f"o-{n}"), **content))).status_code == 200
    url = "/v1/rooms/g-1/members"
    seen: list[str] = []
    params: dict[str, Any] | None = {"appid": "wx1", "limit": 2}
    while params is not None:
        page = (await stage.api.get(url, params=params)).json()
        seen += [each["openid"] for each in page["members"]]
        params = {**params, "cursor": page["next"]} if page["next"] else None
    assert seen == ["o-4", "o-3", "o-2", "o-1", "o-0"]
    for key, app, status in ((OTHER_KEY, "wx1", 403), (OTHER_KEY, "wx2", 404)):
        assert (await stage.client(key).get(url, params={"appid": app})).status_code == status
    unsaid = await stage.api.get(url)
    assert (unsaid.status_code, [each["path"] for each in unsaid.json()["errors"]]) == (422, ["appid"])
    assert (await stage.api.get("/v1/rooms/g-2/members", params={"appid": "wx1"})).status_code == 404
    assert (await stage.api.get("/v1/rooms/%00/members", params={"appid": "wx1"})).status_code == 404
    assert (await stage.api.get(url, params={"appid": "wx1", "cursor": "x"})).status_code == 422


async def test_the_simulators_page_is_opened(stage: Stage) -> None:
    """Both ends of ours agree, with what they owe to OpenSSL shown elsewhere."""
    session = await log_in(stage)
    rooms = stage.platform.model.rooms
    rooms.put(RoomWish(appid="wx1", opengid="g-1", members={"o-alex": "gp-alex"}))
    for call in ("getChatToolInfo", "getGroupEnterInfo"):
        for watermark in (True, False):
            wish = PageWish(appid="wx1", opengid="g-1", openid="o-alex", call=call, watermark=watermark)
            told = rooms.tell(stage.platform.clock.wall(), wish)
            answer = await bind(stage, session, Given(told.encrypted_data, told.iv))
            assert (answer.status_code, answer.json()["group_openid"]) == (200, "gp-alex")


async def test_nothing_secret_is_kept_or_told(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Session key, session and code, in whatever the store holds and in whatever was answered or logged."""
    session = await log_in(stage)
    key = key_of(stage)
    told = [(await bind(stage, session, given(key=bytes(16), **TOOL))).text]
    told.append((await bind(stage, session, given(key=key, **TOOL))).text)
    stage.platform.refuse(CODE2SESSION_PATH, 40013)
    code = "canary-code"  # apart from the call: a logged stack quotes lines of this file
    told.append((await stage.api.post(LOGIN, json={"appid": "wx1", "js_code": code})).text)
    said = "\n".join([*everything_in(stage), *told, *capsys.readouterr(), repr(stage.gateway)])
    secrets = [session, base64.b64encode(key).decode(), key.hex(), code, "canary-secret-1"]
    assert [each for each in secrets if each in said] == []
