"""The lease check and the send are one step; connections are bounded and never lost; other calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from contracts.wechat import (
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    ParticipatorInfo,
    Verdict,
)
from services.wechat.ports import Created
from tests.wechat.server import MESSAGE, OK, Platform, cut, json, raw


def yes() -> bool:
    return True


async def test_may_send_is_asked_after_the_token_and_before_the_message(platform: Platform, send) -> None:
    def may_send() -> bool:
        platform.story.append("asked")
        return True

    assert (await send(may_send=may_send)).verdict is Verdict.ok
    assert platform.story == ["token", "asked", "message"]


async def test_what_may_not_be_sent_is_not_sent(platform: Platform, send) -> None:
    answer = await send(may_send=lambda: False)
    assert (answer.verdict, answer.sent, answer.errcode) == (None, False, None)
    assert platform.story == ["token"]


async def test_may_send_is_asked_only_once_there_is_a_place_to_send_from(platform: Platform, connect) -> None:
    """Whoever waits behind other calls is asked when its turn comes, not before."""
    client = connect(platform.url, in_flight=1)
    platform.message = platform.hang
    asked: list[str] = []

    def ask(name: str) -> Callable[[], bool]:
        def may_send() -> bool:
            asked.append(name)
            return True

        return may_send

    first = asyncio.create_task(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, ask("first")))
    await platform.until(lambda: len(platform.messages) == 1)
    second = asyncio.create_task(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, ask("second")))
    other = asyncio.create_task(client.set_chat_tool_msg("wx2", MESSAGE, 20.0, ask("other")))
    await platform.until(lambda: len(platform.fetches) == 2)  # a token does not stand behind messages
    assert asked == ["first"]
    platform.released.set()
    assert {(await each).verdict for each in (first, second, other)} == {Verdict.ok}
    assert sorted(asked) == ["first", "other", "second"]


async def test_a_message_that_finds_no_place_by_its_deadline_was_not_sent(
    platform: Platform, connect
) -> None:
    client = connect(platform.url, in_flight=1)
    platform.message = platform.hang
    first = asyncio.create_task(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes))
    await platform.until(lambda: len(platform.messages) == 1)
    answer = await client.set_chat_tool_msg("wx1", MESSAGE, 0.2, yes)
    assert (answer.verdict, answer.sent) == (Verdict.busy, False)
    platform.released.set()
    assert (await first).verdict is Verdict.ok
    assert len(platform.messages) == 1


async def test_no_more_calls_are_in_flight_than_allowed(platform: Platform, connect) -> None:
    client = connect(platform.url, in_flight=3)
    answers = await asyncio.gather(*(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes) for _ in range(30)))
    assert {each.verdict for each in answers} == {Verdict.ok}
    assert platform.most_at_once <= 3
    assert len({peer for path, peer in platform.peers if path == SET_CHAT_TOOL_MSG_PATH}) <= 3


async def test_a_cancelled_caller_is_cancelled_and_nobody_else_is(platform: Platform, send) -> None:
    platform.message = platform.hang
    task = asyncio.create_task(send())
    await platform.until(lambda: len(platform.messages) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    platform.message = OK
    assert (await send()).verdict is Verdict.ok


async def test_no_place_is_lost_whenever_a_call_is_cancelled(platform: Platform, connect) -> None:
    """Cancelled at every step on its way, also between connecting and sending."""
    client = connect(platform.url, in_flight=2)
    await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes)
    platform.message = cut
    for steps in range(60):
        # Every other round begins without a connection, so that one is made.
        await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes)
        task = asyncio.create_task(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    platform.message = OK
    answers = await asyncio.gather(*(client.set_chat_tool_msg("wx1", MESSAGE, 20.0, yes) for _ in range(8)))
    assert {each.verdict for each in answers} == {Verdict.ok}


async def test_connections_are_used_again(platform: Platform, send) -> None:
    for _ in range(5):
        await send()
    assert len({peer for _, peer in platform.peers[1:]}) == 1


async def test_an_app_that_nobody_named_has_no_token(platform: Platform, send) -> None:
    answer = await send(appid="wx9")
    assert (answer.verdict, answer.sent) == (Verdict.misconfigured, False)
    assert platform.story == []


async def test_members_whom_wechat_quotes_are_not_named(platform: Platform, client) -> None:
    """Whatever stands around them, also where one begins with another, or the words are cut at their length.
    The rid is WeChat's own."""
    named = tuple(map(ParticipatorInfo, ("gp-1", "gp-12", "6-a")))
    message = msgspec.structs.replace(MESSAGE, participator_info_list=named)
    platform.message = json(errcode=40003, errmsg="member_gp-12，成员gp-1无效 rid: 6-a")
    answer = await client.set_chat_tool_msg("wx1", message, 20.0, yes)
    assert (answer.errcode, answer.errmsg) == (40003, "member_***，成员***无效 rid: ***")
    assert answer.rid == "6-a"
    platform.message = json(errcode=40003, errmsg="x" * 498 + "gp-1")
    answer = await client.set_chat_tool_msg("wx1", message, 20.0, yes)
    assert answer.errmsg == "x" * 498 + "**"


async def test_a_mistake_of_our_own_before_the_send_is_an_answer_too(platform: Platform, send) -> None:
    def may_send() -> bool:
        raise ZeroDivisionError

    answer = await send(may_send=may_send)
    assert (answer.verdict, answer.sent, answer.errmsg) == (
        Verdict.busy,
        False,
        "not sent: ZeroDivisionError",
    )


class Heard:
    """What telemetry was told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.quotas: list[tuple[str, int, int]] = []

    def token_fetched(self, outcome: str) -> None:
        self.tokens.append(outcome)

    def quota(self, appid: str, left: int, limit: int) -> None:
        self.quotas.append((appid, left, limit))


async def test_telemetry_hears_of_quotas_and_of_each_fetch_of_a_token(platform: Platform, connect) -> None:
    """A token that is kept is no fetch; a quota that is not to be learnt leaves the last."""
    heard = Heard()
    client = connect(platform.url, metrics=heard)
    platform.others[QUOTA_GET_PATH] = json(errcode=0, quota={"daily_limit": 1000, "used": 990, "remain": 10})
    assert [await client.quota_left("wx1") for _ in range(2)] == [10, 10]
    platform.others[QUOTA_GET_PATH] = json(errcode=76021)
    await client.quota_left("wx1")
    platform.token = json(errcode=40001, errmsg="invalid credential")
    await client.quota_left("wx2")
    assert heard.quotas == [("wx1", 10, 1000), ("wx1", 10, 1000)]
    assert heard.tokens == ["ok", "misconfigured"]


async def test_the_quota_that_is_left(platform: Platform, client) -> None:
    platform.others[QUOTA_GET_PATH] = json(
        errcode=0,
        quota={"daily_limit": 1000, "used": 990, "remain": 10},
        rate_limit={"call_count": 5, "refresh_second": 60},
    )
    assert await client.quota_left("wx1") == 10


@pytest.mark.parametrize(
    "handler",
    [
        json(errcode=76021, errmsg="cgi_path not found"),
        json(errcode=0),
        json(500, errcode=0, quota={"remain": 10}),
        raw(b"<html></html>"),
        json(errcode=0, quota={"remain": "many"}),
        cut,
    ],
)
async def test_a_quota_that_is_not_to_be_learnt_is_none(platform: Platform, client, handler) -> None:
    platform.others[QUOTA_GET_PATH] = handler
    assert await client.quota_left("wx1") is None


async def test_a_question_that_is_not_answered_in_time_is_none(platform: Platform, connect) -> None:
    client = connect(platform.url, deadline=0.2)
    platform.others[QUOTA_GET_PATH] = platform.hang
    assert await client.quota_left("wx1") is None
    platform.token = platform.hang
    assert await client.quota_left("wx2") is None


@pytest.mark.parametrize("time", [1_795_334_400, 1_795_334_400_000])
async def test_a_new_activity_id_in_seconds_or_milliseconds(platform: Platform, client, time) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = json(activity_id="966_NGiq", expiration_time=time)
    assert await client.create_activity_id("wx1") == Created("966_NGiq", 1_795_334_400_000_000)
    assert platform.requests[-1].method == "GET"


async def test_a_question_refused_for_its_token_is_repeated_once_with_another(
    platform: Platform, client
) -> None:
    platform.others[CREATE_ACTIVITY_ID_PATH] = json(activity_id="a", expiration_time=1_795_334_400)
    assert await client.create_activity_id("wx1")
    platform.others[QUOTA_GET_PATH] = json(errcode=40001)
    platform.number += 1
    assert await client.quota_left("wx1") is None
    assert [each.path for each in platform.requests].count(QUOTA_GET_PATH) == 2
    assert len(platform.fetches) == 2
