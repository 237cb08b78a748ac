"""Tokens: shared, kept, dropped, renewed, and never a reason to doubt a card (wechat-api.md §3)."""

from __future__ import annotations

import asyncio

import pytest

from contracts.wechat import Verdict
from services.wechat.tokens import AGAIN
from tests.wechat.server import MESSAGE, Platform, cut, half, json, raw

REFUSED = (40001, 40014, 42001)


async def test_calls_at_the_same_time_share_one_fetch(platform: Platform, send) -> None:
    platform.token, held = platform.hang, platform.token
    calls = [asyncio.create_task(send()) for _ in range(64)]
    await platform.until(lambda: len(platform.fetches) == 1)

    async def late(request):
        await platform.released.wait()
        return await held(request)

    platform.released.set()
    first = {(await each).verdict for each in calls}
    assert first == {Verdict.no_token}  # the fetch they shared brought no token, and no message was sent
    assert (len(platform.fetches), len(platform.messages)) == (1, 0)
    platform.token = late
    assert {each.verdict for each in await asyncio.gather(*(send() for _ in range(64)))} == {Verdict.ok}
    assert (len(platform.fetches), len(platform.messages)) == (2, 64)


async def test_whoever_stops_waiting_leaves_the_fetch_to_the_others(platform: Platform, send) -> None:
    async def late(request):
        await platform.released.wait()
        return await platform.current_token(request)

    platform.token = late
    gone, stays = asyncio.create_task(send()), asyncio.create_task(send())
    hasty = asyncio.create_task(send(deadline=0.1))
    await platform.until(lambda: len(platform.fetches) == 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    answer = await hasty
    assert (answer.verdict, answer.sent) == (Verdict.no_token, False)
    platform.released.set()
    assert (await stays).verdict is Verdict.ok
    assert len(platform.fetches) == 1


async def test_apps_have_tokens_of_their_own(platform: Platform, send) -> None:
    await asyncio.gather(send(), send(appid="wx2"))
    assert sorted(each["appid"] for each in platform.fetches) == ["wx1", "wx2"]


@pytest.mark.parametrize(("expires_in", "kept"), [(7200, 7140), (300, 240), (100, 50), (1, 0.5)])
async def test_a_token_is_kept_until_shortly_before_its_end(
    platform: Platform, send, clock, expires_in, kept
) -> None:
    platform.token = json(access_token="t", expires_in=expires_in)
    await send()
    clock.now += kept - 0.1
    await send()
    assert len(platform.fetches) == 1
    clock.now += 0.2
    await send()
    assert len(platform.fetches) == 2


@pytest.mark.parametrize("code", REFUSED)
async def test_a_message_refused_for_its_token_is_repeated_once_with_another(
    platform: Platform, send, code
) -> None:
    await send()
    old = platform.value
    platform.number += 1
    answers = iter([json(errcode=code), json(errcode=0)])

    async def message(request):
        return await next(answers)(request)

    platform.message = message
    assert (await send()).verdict is Verdict.ok
    assert [token for token, _ in platform.messages] == [old, old, platform.value]
    assert len(platform.fetches) == 2


@pytest.mark.parametrize("code", REFUSED)
async def test_a_message_is_not_repeated_with_the_token_that_was_refused(
    platform: Platform, send, code
) -> None:
    platform.message = json(errcode=code, errmsg="rid: 1-2-3")
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.token, True, code)
    assert platform.story == ["token", "message", "token"]


async def test_a_token_that_is_refused_and_given_again_does_not_use_up_the_days_fetches(
    platform: Platform, send, clock
) -> None:
    """One fetch in ten seconds, however many calls are refused; a new token is found then."""
    platform.message = json(errcode=40001)
    for _ in range(5):
        assert (await send()).verdict is Verdict.token
    assert (len(platform.fetches), len(platform.messages)) == (2, 5)
    platform.number += 1
    platform.message = platform.only_current
    clock.now += AGAIN
    assert (await send()).verdict is Verdict.ok
    assert len(platform.fetches) == 3


async def test_a_message_is_never_sent_a_third_time(platform: Platform, send) -> None:
    async def message(request):
        platform.number += 1
        return await json(errcode=40001)(request)

    platform.message = message
    assert (await send()).verdict is Verdict.token
    assert platform.story == ["token", "message", "token", "message"]


async def test_only_the_token_that_was_used_is_dropped(platform: Platform, send) -> None:
    """Calls that were refused with the old one share the fetch, or find the new one in place."""
    await send()
    platform.number += 1
    platform.message = platform.only_current
    assert {each.verdict for each in await asyncio.gather(*(send() for _ in range(64)))} == {Verdict.ok}
    assert len(platform.fetches) == 2


async def test_a_late_refusal_of_the_old_token_leaves_the_new_one(platform: Platform, send) -> None:
    held = asyncio.Event()

    async def late(request):
        await held.wait()
        return await platform.only_current(request)

    await send()
    platform.message = late
    slow = asyncio.create_task(send())
    await platform.until(lambda: len(platform.messages) == 2)
    platform.number += 1
    platform.message = platform.only_current
    assert (await send()).verdict is Verdict.ok  # fetched the new one
    held.set()
    assert (await slow).verdict is Verdict.ok
    assert len(platform.fetches) == 2


async def test_may_send_is_asked_again_before_the_repeat(platform: Platform, send) -> None:
    """There is another token: the refusal of the old one says nothing about the app."""
    await send()
    platform.number += 1
    platform.message = platform.only_current
    allowed = iter([True, False])
    answer = await send(may_send=lambda: next(allowed))
    assert (answer.verdict, answer.sent, answer.errcode) == (None, False, None)
    assert next(allowed, None) is None
    assert len(platform.messages) == 2


async def test_a_deadline_while_the_repeat_waits_for_a_place_is_not_the_old_token_s_refusal(
    platform: Platform, connect
) -> None:
    """Another call took the only place while the token was renewed."""
    client = connect(platform.url, in_flight=1)
    for appid in ("wx1", "wx2"):
        await client.set_chat_tool_msg(appid, MESSAGE, 20.0, lambda: True)
    renewed = asyncio.Event()

    async def slowly(request):
        await renewed.wait()
        return await platform.current_token(request)

    platform.number += 1
    platform.token, platform.message = slowly, platform.only_current
    refused = asyncio.create_task(client.set_chat_tool_msg("wx1", MESSAGE, 2.0, lambda: True))
    await platform.until(lambda: len(platform.fetches) == 3)
    platform.message = platform.hang
    other = asyncio.create_task(client.set_chat_tool_msg("wx2", MESSAGE, 20.0, lambda: True))
    await platform.until(lambda: len(platform.messages) == 4)
    renewed.set()
    answer = await refused
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.busy, False, None)
    platform.released.set()
    assert (await other).verdict is Verdict.ok


async def test_a_deadline_while_the_token_is_renewed_leaves_what_the_message_was_answered(
    platform: Platform, send
) -> None:
    await send()
    platform.message = json(errcode=42001)
    platform.token = platform.hang
    answer = await send(deadline=0.3)
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.token, True, 42001)


async def test_a_secret_that_was_changed_shows_when_the_token_is_renewed(platform: Platform, send) -> None:
    await send()
    platform.message = json(errcode=40001)
    platform.token = json(errcode=40125, errmsg="invalid appsecret rid: 1-2-3")
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.misconfigured, True, 40125)
    assert answer.rid == "1-2-3"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (40001, Verdict.misconfigured),
        (40125, Verdict.misconfigured),
        (40013, Verdict.misconfigured),
        (40164, Verdict.address),
        (61004, Verdict.address),
        (50004, Verdict.blocked),
        (45009, Verdict.daily_limit),
        (45011, Verdict.minute_limit),
        (-1, Verdict.no_token),
        # Nothing that is said while a token is fetched says anything about a card.
        (42001, Verdict.no_token),
        (40097, Verdict.no_token),
        (47001, Verdict.no_token),
        (47501, Verdict.no_token),
        (47504, Verdict.no_token),
        (99999, Verdict.no_token),
    ],
)
async def test_a_refused_fetch_speaks_about_the_app_or_is_tried_again(
    platform: Platform, send, code, verdict
) -> None:
    platform.token = json(errcode=code, errmsg="because rid: 1-2-3")
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (verdict, False, code)
    assert (answer.errmsg, answer.rid) == ("no token: because rid: 1-2-3", "1-2-3")
    assert platform.messages == []


@pytest.mark.parametrize(
    "handler",
    [
        json(500, access_token="t", expires_in=7200),
        json(429),
        raw(b"<html></html>", content_type="text/html"),
        raw(b""),
        json(),
        json(access_token="t"),
        json(access_token="", expires_in=7200),
        json(access_token="t", expires_in=-5),
        json(access_token=7, expires_in=7200),
        raw(b"{", 302, headers={"Location": "/elsewhere"}),
        json(access_token="x" * (1 << 20), expires_in=7200),
        cut,
        half,
    ],
)
async def test_a_fetch_that_fails_in_any_way_is_no_token_and_no_message_was_sent(
    platform: Platform, send, handler
) -> None:
    platform.token = handler
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.no_token, False, None)
    assert answer.errmsg.startswith("no token: ")
    platform.token = platform.current_token
    assert (await send()).verdict is Verdict.ok


async def test_a_fetch_that_is_refused_the_connection_is_no_token(platform: Platform, connect, send) -> None:
    await platform.stop()
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errmsg) == (
        Verdict.no_token,
        False,
        "no token: ConnectionRefusedError",
    )


async def test_an_impossible_errcode_of_a_fetch_is_not_kept(platform: Platform, send) -> None:
    platform.token = json(errcode=2**60, errmsg="?")
    answer = await send()
    assert (answer.verdict, answer.errcode) == (Verdict.no_token, None)


async def test_who_waits_for_a_token_when_the_client_is_closed_gets_an_answer(
    platform: Platform, client, send
) -> None:
    platform.token = platform.hang
    waiting = asyncio.create_task(send())
    await platform.until(lambda: len(platform.fetches) == 1)
    await client.close()
    answer = await waiting
    assert (answer.verdict, answer.sent) == (Verdict.no_token, False)


async def test_a_token_of_any_letters_travels_whole(platform: Platform, client) -> None:
    value = "a+b/c==&d=1 %41é" + "x" * 500
    platform.token = json(access_token=value, expires_in=7200)
    assert (await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)).verdict is Verdict.ok
    assert platform.messages[0][0] == value


async def test_where_no_token_was_refused_there_is_no_other(platform: Platform, client, send) -> None:
    """And nothing is asked to find that out."""
    assert not await client.has_other_token("wx1")
    assert platform.fetches == []
    await send()
    assert not await client.has_other_token("wx1")
    assert len(platform.fetches) == 1


async def test_another_token_is_asked_for_each_time_and_used_once_there_is_one(
    platform: Platform, client, send
) -> None:
    """Also within the seconds in which a call would not ask again."""
    platform.message = json(errcode=40001)
    assert (await send()).verdict is Verdict.token
    assert (len(platform.fetches), len(platform.messages)) == (2, 1)
    for asked in (3, 4):
        assert not await client.has_other_token("wx1")
        assert len(platform.fetches) == asked
    platform.number += 1
    platform.message = platform.only_current
    assert await client.has_other_token("wx1")
    assert len(platform.fetches) == 5
    assert (await send()).verdict is Verdict.ok
    assert (len(platform.fetches), len(platform.messages)) == (5, 2)


async def test_another_token_in_hand_is_another_without_a_fetch(platform: Platform, client, send) -> None:
    """A call that was refused with the old one has found it already."""
    await send()
    platform.number += 1
    platform.message = platform.only_current
    assert (await send()).verdict is Verdict.ok
    assert await client.has_other_token("wx1")
    assert len(platform.fetches) == 2


@pytest.mark.parametrize("handler", [json(errcode=40125), json(errcode=-1), json(500), cut])
async def test_a_fetch_without_a_token_is_no_other_token(platform: Platform, client, send, handler) -> None:
    platform.message = json(errcode=40001)
    await send()
    platform.token = handler
    assert not await client.has_other_token("wx1")
    platform.token = platform.current_token
    assert not await client.has_other_token("wx1")
    platform.number += 1
    assert await client.has_other_token("wx1")


async def test_of_two_tokens_refused_the_last_is_meant(platform: Platform, client, send) -> None:
    async def message(request):
        platform.number += 1
        return await json(errcode=40001)(request)

    platform.message = message
    assert (await send()).verdict is Verdict.token
    platform.number -= 1
    assert not await client.has_other_token("wx1")
    platform.number += 1
    assert await client.has_other_token("wx1")


async def test_each_app_has_refused_tokens_of_its_own(platform: Platform, client, send) -> None:
    platform.message = json(errcode=40001)
    await send()
    platform.number += 1
    assert not await client.has_other_token("wx2")
    assert await client.has_other_token("wx1")
