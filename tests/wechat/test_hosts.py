"""WeChat's hosts: only where no connection came about is the next one asked (design.md §6)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from contracts.wechat import Verdict
from services.wechat.hosts import AGAIN
from services.wechat.ports import Answer, Created
from tests.security.authority import Authority
from tests.wechat.conftest import MESSAGE
from tests.wechat.server import Platform, cut, half, json, raw

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


async def test_a_host_that_makes_no_connection_leaves_time_for_the_next(
    connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who accepts and never speaks TLS; the deadline is shared among the hosts."""
    authority = Authority(tmp_path, "ours")
    pair = authority.sign("wechat")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    second = Platform()
    await second.start(tls=served)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hosts = f"https://127.0.0.1:{mute.getsockname()[1]},https://127.0.0.1:{second.port}"
        client = connect(hosts, deadline=1.5)
        assert (await send(client)).verdict is Verdict.ok
    assert second.story == ["token", "message"]
    await client.close()
    await second.stop()


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
    client = connect(f"{second.url},{closed}")
    assert (await send(client)).verdict is Verdict.ok  # it has its token
    other = connect(f"{closed},{second.url}")
    other._tokens = client._tokens
    allowed = iter([True, False])
    answer = await send(other, may_send=lambda: next(allowed))
    assert (answer.verdict, answer.sent, next(allowed, None)) == (None, False, None)
    assert len(second.messages) == 1


async def test_where_no_host_can_be_reached_nothing_was_sent_and_each_says_why(
    closed: str, platform: Platform, connect
) -> None:
    client = connect(platform.url)
    assert (await send(client)).verdict is Verdict.ok
    nowhere = connect(f"{closed},http://wechat.invalid")
    nowhere._tokens = client._tokens
    answer = await send(nowhere)
    assert (answer.verdict, answer.sent) == (Verdict.busy, False)
    assert answer.errmsg.startswith(
        f"no connection: {closed.removeprefix('http://')}: ConnectionRefusedError; "
    )
    assert "wechat.invalid: " in answer.errmsg
