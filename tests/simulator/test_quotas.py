"""Minute and daily limits, asking for them and clearing them; login codes (wechat-api.md §2, §4)."""

from __future__ import annotations

from contracts.wechat import (
    CLEAR_QUOTA_PATH,
    CODE2SESSION_PATH,
    QUOTA_GET_PATH,
    RID_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    rid_of,
)
from services.simulator.model import OLD_CLEAR_QUOTA_PATH


async def limit(client, **limits):
    await client.post("/control/quota", {"path": SET_CHAT_TOOL_MSG_PATH, **limits})


async def quota(client):
    body = {"cgi_path": SET_CHAT_TOOL_MSG_PATH}
    return await client.post(QUOTA_GET_PATH, body, access_token=client.token)


async def test_the_minute_limit_lasts_until_the_next_minute_of_the_wall_clock(card, clock):
    await limit(card, minute=2)
    clock.advance(50)
    assert [(await card.send(1))["errcode"] for _ in range(3)] == [0, 0, 45011]
    clock.advance(9)
    assert (await card.send(1))["errcode"] == 45011
    clock.advance(1)
    assert (await card.send(1))["errcode"] == 0


async def test_the_daily_limit_lasts_until_midnight_in_shanghai(card, clock):
    await limit(card, daily=1, appid="wx1")
    assert [(await card.send(1))["errcode"] for _ in range(2)] == [0, 45009]
    clock.advance(8 * 3600 - 1)
    await card.log_in()
    assert (await card.send(1))["errcode"] == 45009
    clock.advance(1)
    assert (await card.send(1))["errcode"] == 0


async def test_limits_are_per_app(card):
    await limit(card, daily=0, appid="wx2")
    assert (await card.send(1))["errcode"] == 0
    await card.log_in("wx2", "s2")
    assert (await card.send(1))["errcode"] == 45009


async def test_quota_get_tells_what_is_left(card):
    await limit(card, daily=5, minute=60)
    await card.send(1)
    await card.send(1)
    assert await quota(card) == {
        "errcode": 0,
        "errmsg": "ok",
        "quota": {"daily_limit": 5, "used": 2, "remain": 3},
        "rate_limit": {"call_count": 60, "refresh_second": 60},
    }
    for path, code in (("/cgi-bin/no", 76021), (CODE2SESSION_PATH, 76022)):
        answer = await card.post(QUOTA_GET_PATH, {"cgi_path": path}, access_token=card.token)
        assert answer["errcode"] == code


async def test_refused_calls_change_nothing_and_use_up_nothing(card):
    await limit(card, daily=1)
    await card.send(1)
    await card.send(1, ["alex"])
    assert (await quota(card))["quota"] == {"daily_limit": 1, "used": 1, "remain": 0}
    assert (await card.card())["posts"] == {}


async def test_clearing_gives_the_day_back_ten_times_a_month(card, clock):
    await limit(card, daily=1)
    body = {"appid": "wx1", "appsecret": "s1"}
    for _ in range(10):
        assert (await card.send(1))["errcode"] == 0
        assert (await card.send(1))["errcode"] == 45009
        assert (await card.post(CLEAR_QUOTA_PATH, body))["errcode"] == 0
    assert (await card.post(CLEAR_QUOTA_PATH, body))["errcode"] == 48006
    clock.advance(10 * 24 * 3600)
    assert (await card.post(CLEAR_QUOTA_PATH, body))["errcode"] == 0
    assert (await card.post(CLEAR_QUOTA_PATH, {**body, "appsecret": "no"}))["errcode"] == 40125


async def test_clearing_by_query_parameters_or_by_token_counts_alike(card):
    """SDKs send the two fields either way; the older call has a token instead of the secret."""
    await limit(card, daily=1)
    body = {"appid": "wx1"}
    for _ in range(5):
        assert [(await card.send(1))["errcode"] for _ in range(2)] == [0, 45009]
        assert (await card.post(CLEAR_QUOTA_PATH, appid="wx1", appsecret="s1"))["errcode"] == 0
        assert [(await card.send(1))["errcode"] for _ in range(2)] == [0, 45009]
        assert (await card.post(OLD_CLEAR_QUOTA_PATH, body, access_token=card.token))["errcode"] == 0
    assert (await card.post(OLD_CLEAR_QUOTA_PATH, body, access_token=card.token))["errcode"] == 48006
    assert (await card.post(CLEAR_QUOTA_PATH, appid="wx1", appsecret="no"))["errcode"] == 40125
    assert (await card.post(OLD_CLEAR_QUOTA_PATH, {"appid": "wx2"}, access_token=card.token))[
        "errcode"
    ] == 40013
    assert (await card.post(OLD_CLEAR_QUOTA_PATH, body))["errcode"] == 41001


async def test_a_rid_tells_the_app_what_was_refused_and_no_secret(card):
    refused = await card.send(9)
    rid = rid_of(refused["errmsg"])
    told = await card.post(RID_GET_PATH, {"rid": rid}, access_token=card.token)
    assert (told["errcode"], told["errmsg"]) == (0, "ok")
    assert told["request"].keys() == {
        *("invoke_time", "cost_in_ms", "request_url", "request_body", "response_body", "client_ip")
    }
    assert '"target_state"' in told["request"]["request_body"]
    assert rid in told["request"]["response_body"]
    assert card.token not in str(told)
    refused = await card.post(CLEAR_QUOTA_PATH, {"appid": "wx1", "appsecret": "canary"})
    told = await card.post(RID_GET_PATH, {"rid": rid_of(refused["errmsg"])}, access_token=card.token)
    assert told["errcode"] == 0
    assert "canary" not in str(told)
    for wish, code in (("", 76002), ("6501-0a1b-2c3d", 76001)):
        assert (await card.post(RID_GET_PATH, {"rid": wish}, access_token=card.token))["errcode"] == code
    await card.log_in("wx2", "s2")
    assert (await card.post(RID_GET_PATH, {"rid": rid}, access_token=card.token))["errcode"] == 76003


async def test_a_login_code_works_once(client):
    await client.post("/control/codes", {"code": "c1", "appid": "wx1", "openid": "o1", "unionid": "u1"})
    await client.post("/control/codes", {"code": "c2", "appid": "wx1"})
    query = {"appid": "wx1", "secret": "s1", "js_code": "c1", "grant_type": "authorization_code"}
    session = await client.get(CODE2SESSION_PATH, **query)
    assert set(session) == {"openid", "session_key", "unionid"}
    assert session["openid"] == "o1"
    assert len(session["session_key"]) == 24
    assert (await client.get(CODE2SESSION_PATH, **query))["errcode"] == 40163
    assert (await client.get(CODE2SESSION_PATH, **{**query, "js_code": "no"}))["errcode"] == 40029
    assert (await client.get(CODE2SESSION_PATH, **{**query, "js_code": "c2"}))["errcode"] == 40226
    assert (await client.get(CODE2SESSION_PATH, **{**query, "secret": "no"}))["errcode"] == 40125
