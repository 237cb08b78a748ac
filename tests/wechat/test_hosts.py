"""WeChat's hosts: only where no connection came about is the next one asked (design.md §6)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog

from contracts.wechat import Verdict
from services.runtime.settings import Secret
from services.wechat.hosts import AGAIN, connecting
from services.wechat.ports import Answer, Created
from services.wechat.tokens import FETCH, Token
from services.wechat.transport import Exchange
from tests.wechat.server import MESSAGE, Platform, cut, half, json, raw

CREATE = "/cgi-bin/message/wxopen/activityid/create"


@pytest.fixture
async def second() -> AsyncIterator[Platform]:
    running = Platform()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def closed() -> Iterator[str]:
    """A host that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


class Unreachable:
    """A way on which no connection comes about."""

    async def exchange(self, *_: Any) -> Exchange:
        return Exchange(unsent=True, why="ConnectionRefusedError")

    async def close(self) -> None:
        pass


def with_token(one: Any, client: Any) -> Any:
    """The client, with a token in hand: what it does first is the message."""
    keeper = one._tokens
    keeper._tokens["wx1"] = Token(Secret("token"), float("inf"))
    keeper._origins["wx1"] = ("", "")
    client._tokens = keeper
    return client


async def send(client: Any, may_send: Callable[[], bool] = lambda: True, deadline: float = 20.0) -> Answer:
    answer = await client.set_chat_tool_msg("wx1", MESSAGE, deadline, may_send)
    assert isinstance(answer, Answer)
    return answer


async def test_the_first_host_is_used_while_it_can_be_reached(
    platform: Platform, second: Platform, connect
) -> None:
    client = connect(f"{platform.url}, {second.url}")
    assert [(await send(client)).verdict for _ in range(3)] == [Verdict.ok] * 3
    assert (len(platform.messages), second.story) == (3, [])


async def test_the_next_host_is_used_where_one_refuses_the_connection(
    closed: str, second: Platform, connect, clock
) -> None:
    """Token, message and question alike; it is told once."""
    client = connect(f"{closed},{second.url}")
    second.others[CREATE] = json(activity_id="a-1", expiration_time=2_000_000_000)
    with structlog.testing.capture_logs() as told:
        assert [(await send(client)).verdict for _ in range(3)] == [Verdict.ok] * 3
        clock.now += AGAIN
        assert (await send(client)).verdict is Verdict.ok
        assert isinstance(await client.create_activity_id("wx1"), Created)
    assert second.story == ["token", *["message"] * 4]
    (line,) = [each for each in told if "cannot be reached" in each["event"]]
    assert (line["host"], line["why"]) == (closed.removeprefix("http://"), "ConnectionRefusedError")


@pytest.mark.parametrize(
    "handler",
    [cut, half, raw(b"", 500), raw(b"", 502), raw(b"<html>"), json(404, errcode="x"), "hang", "drip"],
)
async def test_an_unknown_outcome_on_one_host_is_not_tried_on_the_next(
    platform: Platform, second: Platform, connect, handler: Any
) -> None:
    """It may have been applied. The next call goes where the last one was answered, too."""
    platform.message = getattr(platform, handler) if isinstance(handler, str) else handler
    client = connect(f"{platform.url},{second.url}")
    answer = await send(client, deadline=0.5 if isinstance(handler, str) else 20.0)
    assert (answer.verdict, answer.sent) == (Verdict.unknown, True)
    platform.message = json(errcode=0)
    assert (await send(client)).verdict is Verdict.ok
    assert (len(platform.messages), second.story) == (2, [])


async def test_hosts_that_make_no_connection_leave_time_for_the_last(second: Platform, connect) -> None:
    """Who accept and never speak TLS: the deadline of the call itself, whose token is there, is shared."""
    deadline = 2.0
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        mute = [f"https://127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
        client = with_token(connect(second.url), connect(",".join([*mute, second.url]), deadline=deadline))
        assert (await send(client, deadline=deadline)).verdict is Verdict.ok
    assert second.story == ["message"]


@pytest.mark.parametrize(
    ("deadline", "hosts", "seconds"), [(10, 1, 5), (10, 2, 10 / 3), (60, 2, 5), (1, 1, 5)]
)
def test_a_deadline_is_shared_among_the_hosts(deadline: float, hosts: int, seconds: float) -> None:
    """One host alone has what it always had."""
    assert connecting(deadline, hosts) == pytest.approx(seconds)


@pytest.mark.parametrize("hosts", [2, 3, 5])
async def test_a_fetch_of_a_token_leaves_time_for_each_host_too(hosts: int, connect) -> None:
    """It has less than a long deadline of the calls'."""
    client = connect(",".join(["http://wechat"] * hosts), deadline=60.0)
    shares = [host.transport._within for host in client._hosts._hosts]
    assert sum(shares) < FETCH


async def test_an_answer_to_a_call_from_before_brings_no_host_back(
    platform: Platform, second: Platform, connect, clock
) -> None:
    """The old connection works, a new one comes about no more: calls stay with the next host."""
    client = connect(f"{platform.url},{second.url}")
    assert (await send(client)).verdict is Verdict.ok
    platform.message = platform.hang
    slow = asyncio.create_task(send(client))
    await platform.until(lambda: len(platform.messages) == 2)
    clock.now += 1.0
    first = client._hosts._hosts[0]
    real, first.transport = first.transport, Unreachable()
    assert (await send(client)).verdict is Verdict.ok
    with structlog.testing.capture_logs() as told:
        platform.released.set()
        assert (await slow).verdict is Verdict.ok
        first.transport = real
        assert (await send(client)).verdict is Verdict.ok
    assert (len(platform.messages), len(second.messages), told) == (2, 2, [])


async def test_an_outcome_that_is_unknown_after_a_refused_connection_ends_the_round(
    closed: str, platform: Platform, second: Platform, *, connect
) -> None:
    """The first host refuses, the second takes the call and says nothing, the third is not asked."""
    platform.message = cut
    client = with_token(connect(second.url), connect(f"{closed},{platform.url},{second.url}"))
    answer = await send(client)
    assert (answer.verdict, answer.sent) == (Verdict.unknown, True)
    assert (platform.story, second.story) == (["message"], [])


@pytest.mark.parametrize("errcode", [-1, 45009, 45011, 40097, 48001])
async def test_what_a_host_answers_is_the_platforms_word(
    platform: Platform, second: Platform, connect, errcode: int
) -> None:
    platform.message = json(errcode=errcode)
    answer = await send(connect(f"{platform.url},{second.url}"))
    assert (answer.errcode, second.story) == (errcode, [])


async def test_a_kept_connection_that_breaks_after_the_send_stays_unknown(
    platform: Platform, second: Platform, connect
) -> None:
    client = connect(f"{platform.url},{second.url}")
    assert (await send(client)).verdict is Verdict.ok
    platform.message = cut
    assert (await send(client)).verdict is Verdict.unknown
    assert second.story == []


async def test_the_preferred_host_is_used_again_after_its_time_and_one_call_finds_out(
    second: Platform, connect, clock
) -> None:
    first = Platform()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port},{second.url}")
    assert (await send(client)).verdict is Verdict.ok
    await first.start(port)
    clock.now += AGAIN - 0.1
    assert (await send(client)).verdict is Verdict.ok
    assert first.story == []
    clock.now += 0.2
    first.message = first.hang
    probe = asyncio.create_task(send(client))
    await first.until(lambda: len(first.messages) == 1)
    assert (await send(client)).verdict is Verdict.ok
    assert (len(first.messages), len(second.messages)) == (1, 3)
    with structlog.testing.capture_logs() as told:
        first.released.set()
        assert (await probe).verdict is Verdict.ok
    assert [each["event"] for each in told] == ["a host of WeChat's can be reached again"]
    assert (await send(client)).verdict is Verdict.ok
    assert len(first.messages) == 2
    await first.stop()


async def test_may_send_is_asked_before_each_host(closed: str, second: Platform, connect) -> None:
    """A lease that ran short, or a gate that closed, while the first one was tried."""
    client = with_token(connect(second.url), connect(f"{closed},{second.url}"))
    allowed = iter([True, False])
    answer = await send(client, may_send=lambda: next(allowed))
    assert (answer.verdict, answer.sent, next(allowed, None)) == (None, False, None)
    assert second.story == []


async def test_where_no_host_can_be_reached_nothing_was_sent_and_each_says_why(closed: str, connect) -> None:
    answer = await send(with_token(connect(closed), connect(f"{closed},http://wechat.invalid")))
    assert (answer.verdict, answer.sent) == (Verdict.busy, False)
    assert answer.errmsg.startswith(
        f"no connection: {closed.removeprefix('http://')}: ConnectionRefusedError; "
    )
    assert "wechat.invalid: " in answer.errmsg
