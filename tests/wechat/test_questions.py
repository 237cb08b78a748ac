"""What callers of the API wait for: a new activity id, and who logged in; or an answer that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from contracts.wechat import CODE2SESSION_PATH, CREATE_ACTIVITY_ID_PATH, Verdict
from services.runtime.settings import Secret
from services.wechat.ports import Answer, Created, LoggedIn
from tests.wechat.server import APPS, MESSAGE, TOKEN, Platform, cut, json, raw

GIVEN = json(activity_id="966_NGiq", expiration_time=1_795_334_400)
USER = json(openid="o-1", session_key="c2Vzc2lvbi1rZXktMDE=", unionid="u-1")

FAILURES = [
    (json(errcode=-1, errmsg="system error"), Verdict.busy, -1),
    (json(errcode=45009, errmsg="rid: 1-2-3"), Verdict.daily_limit, 45009),
    (json(errcode=45011), Verdict.minute_limit, 45011),
    (json(errcode=48001), Verdict.blocked, 48001),
    (json(errcode="40013"), Verdict.misconfigured, 40013),
    (json(429), Verdict.busy, None),
    (json(502), Verdict.unknown, None),
    (raw(b""), Verdict.unknown, None),
    (raw(b"<html></html>"), Verdict.unknown, None),
    (json(errcode=0, activity_id=7, openid=7), Verdict.unknown, None),
    (json(), Verdict.unknown, None),
    (cut, Verdict.unknown, None),
]


@pytest.mark.parametrize(("handler", "verdict", "errcode"), FAILURES)
async def test_no_new_activity_id_says_why(platform: Platform, client, handler, verdict, errcode) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = handler
    answer = await client.create_activity_id("wx1")
    assert isinstance(answer, Answer)
    assert (answer.verdict, answer.errcode, answer.sent) == (verdict, errcode, True)


@pytest.mark.parametrize(
    "odd",
    [
        {"activity_id": "a" * 129, "expiration_time": 1_795_334_400},
        {"activity_id": "a\u0000", "expiration_time": 1_795_334_400},
        {"activity_id": "a", "expiration_time": 10**30},
        {"activity_id": "a", "expiration_time": -1},
        {"activity_id": "a"},
    ],
)
async def test_an_id_that_no_event_could_name_is_none(platform: Platform, client, odd) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = json(**odd)
    answer = await client.create_activity_id("wx1")
    assert (answer.verdict, answer.sent) == (Verdict.unknown, True)


async def test_the_ids_of_a_private_message_go_along_only_if_they_are_given(
    platform: Platform, client
) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = GIVEN
    await client.create_activity_id("wx1", openid="o-1", unionid="u-1")
    await client.create_activity_id("wx1")
    asked = [dict(each.query) for each in platform.requests if each.path == CREATE_ACTIVITY_ID_PATH]
    token = {"access_token": platform.value}
    assert asked == [{**token, "openid": "o-1", "unionid": "u-1"}, token]


async def test_a_refused_token_is_replaced_once_and_then_told(platform: Platform, client) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = json(errcode=40001, errmsg="rid: 6501-0a1b-2c3d")
    answer = await client.create_activity_id("wx1")
    assert (answer.verdict, answer.rid) == (Verdict.token, "6501-0a1b-2c3d")
    assert platform.story == ["token", "token"]  # and no different one was to be had
    assert not await client.has_other_token("wx1")
    platform.number += 1
    assert await client.has_other_token("wx1")


async def test_a_wrong_secret_is_misconfigured_and_asks_nothing(platform: Platform, client) -> None:
    platform.token = json(errcode=40125, errmsg="invalid appsecret")
    answer = await client.create_activity_id("wx1")
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.misconfigured, False, 40125)
    assert CREATE_ACTIVITY_ID_PATH not in {each.path for each in platform.requests}


async def test_who_logged_in_is_asked_with_the_secret_and_without_a_token(platform: Platform, client) -> None:
    platform.others[CODE2SESSION_PATH] = USER
    assert await client.code2session("wx1", "code-1") == LoggedIn(
        "o-1", Secret("c2Vzc2lvbi1rZXktMDE="), "u-1"
    )
    (asked,) = platform.requests
    assert (asked.method, dict(asked.query)) == (
        "GET",
        {"appid": "wx1", "secret": APPS["wx1"], "js_code": "code-1", "grant_type": "authorization_code"},
    )
    platform.others[CODE2SESSION_PATH] = json(openid="o-1", session_key="c2Vzc2lvbi1rZXktMDE=", unionid="")
    assert (await client.code2session("wx1", "code-2")).unionid is None


@pytest.mark.parametrize(
    ("handler", "verdict", "errcode"),
    [
        *FAILURES,
        (json(errcode=40029), Verdict.unknown_code, 40029),
        (json(errcode=40163), Verdict.unknown_code, 40163),
        (json(errcode=40226), Verdict.unknown_code, 40226),
        (json(openid="o-1"), Verdict.unknown, None),
        (json(session_key="x"), Verdict.unknown, None),
    ],
)
async def test_nobody_logged_in_says_why(platform: Platform, client, handler, verdict, errcode) -> None:
    platform.others[CODE2SESSION_PATH] = handler
    answer = await client.code2session("wx1", "code")
    assert isinstance(answer, Answer)
    assert (answer.verdict, answer.errcode, answer.sent) == (verdict, errcode, True)


async def test_an_app_without_a_secret_is_not_asked_about(platform: Platform, client) -> None:
    for answer in (await client.code2session("wx9", "code"), await client.create_activity_id("wx9")):
        assert (answer.verdict, answer.sent) == (Verdict.misconfigured, False)
    assert platform.requests == []


async def test_neither_secret_nor_session_key_is_ever_shown(platform: Platform, client, caplog) -> None:
    """Not by an answer that quotes them, not by a repr, not in a log line."""
    platform.others[CODE2SESSION_PATH] = json(errcode=40125, errmsg=f"secret {APPS['wx1']} of code code-1")
    refused = await client.code2session("wx1", "code-1")
    assert refused.errmsg == "secret *** of code ***"
    platform.others[CODE2SESSION_PATH] = USER
    assert "c2Vzc2lvbi1rZXktMDE=" not in repr(await client.code2session("wx1", "code-1"))
    platform.others[CODE2SESSION_PATH] = cut
    caplog.set_level("DEBUG")
    told = repr(await client.code2session("wx1", "code-1")) + caplog.text
    assert not any(each in told for each in (APPS["wx1"], "code-1", TOKEN))


@pytest.mark.parametrize("what", ["create_activity_id", "code2session"])
async def test_who_waits_too_long_is_told_to_try_again(
    platform: Platform, connect: Callable[..., Any], what: str
) -> None:
    client = connect(platform.url, deadline=0.2)
    platform.others[CREATE_ACTIVITY_ID_PATH] = platform.others[CODE2SESSION_PATH] = platform.hang
    answer = await getattr(client, what)("wx1", *(["code"] if what == "code2session" else []))
    assert answer.verdict is Verdict.busy


async def test_questions_that_hang_leave_room_for_messages_and_their_tokens(
    platform: Platform, connect: Callable[..., Any]
) -> None:
    client = connect(platform.url, in_flight=2)
    platform.others[CREATE_ACTIVITY_ID_PATH] = platform.hang
    asking = [asyncio.create_task(client.create_activity_id("wx1")) for _ in range(20)]
    await platform.until(lambda: platform.at_once == 2)
    message = await client.set_chat_tool_msg("wx2", MESSAGE, 20.0, lambda: True)
    assert message.verdict is Verdict.ok
    platform.others[CREATE_ACTIVITY_ID_PATH] = GIVEN
    platform.released.set()
    await asyncio.gather(*asking)
    assert platform.most_at_once <= 3


async def test_a_created_id_is_an_id_and_a_time(platform: Platform, client) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = GIVEN
    assert await client.create_activity_id("wx1") == Created("966_NGiq", 1_795_334_400_000_000)
