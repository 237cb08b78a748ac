"""What an answer to a message means: wechat-api.md §4, row by row, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, VERDICTS, Verdict
from services.wechat.transport import AiohttpTransport, Exchange
from tests.wechat.server import APPS, MESSAGE, OK, Platform, cut, half, json, raw

GOOD = b'{"errcode":0,"errmsg":"ok"}'
CODES = {code: verdict for code, verdict in VERDICTS.items() if verdict is not Verdict.token}

UNKNOWN = {
    "500 that claims success": json(500, errcode=0, errmsg="ok"),
    "502 with a page": raw(b"<html>Bad Gateway</html>", 502, "text/html"),
    "503 that claims to be busy": json(503, errcode=-1, errmsg="system error"),
    "a page": raw(b"<html>maintenance</html>", content_type="text/html"),
    "nothing": raw(b""),
    "not an object": raw(b"[0]"),
    "two objects": raw(GOOD + GOOD),
    "no errcode": json(errmsg="ok"),
    "errcode null": json(errcode=None),
    "errcode as a text that is no number": json(errcode="ok"),
    "errcode as half a number": json(errcode="0.5"),
    "errcode true": json(errcode=True),
    "errcode beyond four bytes": json(errcode=2**40),
    "not UTF-8": raw(b'{"errcode":0,"errmsg":"\xff"}'),
    "nested without end": raw(b'{"errcode":' + b"[" * 60_000),
    "megabytes": raw(b'{"errcode":0,"errmsg":"' + b"x" * (8 << 20) + b'"}'),
    "compressed unasked": raw(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"}),
    "a redirect that claims success": raw(GOOD, 302, headers={"Location": "/elsewhere"}),
    "a redirect that keeps the method": raw(GOOD, 307, headers={"Location": "/elsewhere"}),
    "a redirect that carries a code": json(302, errcode=47501, errmsg="activity_id is invalid"),
    "404 that claims success": json(404, errcode=0, errmsg="ok"),
    "404 with a page": raw(b"<html>not here</html>", 404, "text/html"),
    "cut after the request": cut,
    "cut in the middle of the answer": half,
}


@pytest.mark.parametrize(("code", "verdict"), [*CODES.items(), (99999, Verdict.unknown_code)])
async def test_each_code_has_the_verdict_of_the_table(platform: Platform, send, code, verdict) -> None:
    platform.message = json(errcode=code, errmsg="because rid: 6501-0a1b-2c3d")
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (verdict, True, code)
    assert (answer.errmsg, answer.rid) == ("because rid: 6501-0a1b-2c3d", "6501-0a1b-2c3d")
    assert len(platform.messages) == 1


@pytest.mark.parametrize(
    ("written", "verdict"),
    [("0", Verdict.ok), (0.0, Verdict.ok), ("47504", Verdict.expired), ("-1", Verdict.busy)],
)
async def test_a_whole_number_in_a_text_is_read_as_one(platform: Platform, send, written, verdict) -> None:
    """Gateways that write WeChat's JSON anew; the token's life as well."""
    platform.token = json(access_token=platform.value, expires_in="7200")
    platform.message = json(errcode=written, errmsg="said")
    answer = await send()
    assert (answer.verdict, answer.sent) == (verdict, True)
    assert platform.story == ["token", "message"]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_what_may_have_been_applied_is_unknown_and_not_repeated(platform: Platform, send, name) -> None:
    platform.message = UNKNOWN[name]
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errcode) == (Verdict.unknown, True, None)
    assert answer.errmsg
    assert platform.story == ["token", "message"]
    platform.message = OK
    assert (await send()).verdict is Verdict.ok


@pytest.mark.parametrize("silence", ["hang", "drip"])
async def test_an_answer_that_does_not_come_by_the_deadline_is_unknown(
    platform: Platform, send, silence
) -> None:
    platform.message = OK
    await send()
    platform.message = getattr(platform, silence)
    answer = await send(deadline=0.3)
    assert (answer.verdict, answer.sent, answer.errmsg) == (Verdict.unknown, True, "no answer in time")
    platform.message = OK
    assert (await send()).verdict is Verdict.ok


@pytest.mark.parametrize("way", ["a page", "drip", "megabytes", "errcode 0"])
async def test_429_is_busy_whatever_else_the_answer_says(platform: Platform, send, way) -> None:
    platform.message = {
        "a page": raw(b"<html>slow down</html>", 429, "text/html"),
        "drip": platform.drip_429,
        "megabytes": raw(b"x" * (8 << 20), 429),
        "errcode 0": json(429, errcode=0),
    }[way]
    answer = await send()
    assert (answer.verdict, answer.sent, answer.errmsg) == (Verdict.busy, True, "HTTP 429")


async def test_a_known_code_counts_with_a_status_of_4xx_too(platform: Platform, send) -> None:
    platform.message = json(403, errcode=48001, errmsg="api unauthorized")
    assert (await send()).verdict is Verdict.blocked


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html", "image/png"])
async def test_any_content_type_will_do(platform: Platform, send, content_type) -> None:
    platform.message = raw(GOOD, content_type=content_type)
    assert (await send()).verdict is Verdict.ok


@pytest.mark.parametrize("errmsg", [None, 7, [], {"a": 1}])
async def test_an_odd_errmsg_does_not_make_a_success_doubtful(platform: Platform, send, errmsg) -> None:
    platform.message = json(errcode=0, errmsg=errmsg)
    answer = await send()
    assert (answer.verdict, answer.errmsg) == (Verdict.ok, "")


async def test_an_errmsg_is_kept_bounded_printable_and_without_the_token(platform: Platform, send) -> None:
    await send()
    echo = f"\x00\x1b[31m\ud800用户 {platform.value} rid: {'f' * 500}".encode("utf-8", "ignore").decode()
    platform.message = json(errcode=40097, errmsg=echo + "x" * 5000)
    answer = await send()
    assert answer.errmsg.startswith("��[31m用户 *** rid: fff")
    assert (len(answer.errmsg), len(answer.rid)) == (500, 100)


async def test_the_message_goes_out_as_the_interface_says(platform: Platform, send) -> None:
    await send()
    token, body = platform.messages[0]
    request = platform.requests[-1]
    assert (request.method, request.path, token) == ("POST", SET_CHAT_TOOL_MSG_PATH, platform.value)
    assert request.headers["Content-Type"] == "application/json"
    assert body == {
        "activity_id": MESSAGE.activity_id,
        "target_state": 1,
        "template_id": MESSAGE.template_id,
        "version_type": 0,
        "participator_info_list": [{"group_openid": "gp-alex", "state": 1}],
    }
    assert platform.fetches == [
        {
            "grant_type": "client_credential",
            "appid": "wx1",
            "secret": APPS["wx1"],
            "force_refresh": False,
        }
    ]


async def test_a_refused_connection_is_busy_and_nothing_was_sent(platform: Platform, send) -> None:
    """The token is in hand, then nobody listens any more."""
    await send()
    await platform.stop()
    answer = await send()
    assert (answer.verdict, answer.sent) == (Verdict.busy, False)
    assert answer.errmsg == "no connection: ConnectionRefusedError"


async def test_a_connection_cut_when_it_is_accepted_is_unknown(connect, platform: Platform) -> None:
    """From our side it cannot be told from one that was cut after the request was read."""

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    door = AiohttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client = connect(platform.url, transport=Detour(door))
    answer = await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
    assert (answer.verdict, answer.sent) == (Verdict.unknown, True)
    server.close()
    await server.wait_closed()


class Detour:
    """Tokens for nothing; messages go `through`, or whatever it is comes of them."""

    def __init__(self, through: AiohttpTransport | Exchange | Exception) -> None:
        self.through = through

    async def exchange(self, method: str, path: str, query: Any, body: bytes | None) -> Exchange:
        if path != SET_CHAT_TOOL_MSG_PATH:
            return Exchange(200, b'{"access_token":"t","expires_in":7200}')
        if isinstance(self.through, AiohttpTransport):
            return await self.through.exchange(method, path, query, body)
        if isinstance(self.through, Exception):
            raise self.through
        return self.through

    async def close(self) -> None:
        if isinstance(self.through, AiohttpTransport):
            await self.through.close()


TROUBLES: dict[str, tuple[Exchange | Exception, Verdict, bool]] = {
    "no connection": (Exchange(unsent=True, why="gaierror"), Verdict.busy, False),
    "broken": (Exchange(why="ServerDisconnectedError"), Verdict.unknown, True),
    "refused, but raised": (ConnectionRefusedError(), Verdict.unknown, True),
    "a bug of the library": (RuntimeError("?"), Verdict.unknown, True),
    "a timeout of the library's": (TimeoutError(), Verdict.unknown, True),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_what_the_transport_does_not_call_unsent_is_unknown(connect, name) -> None:
    trouble, verdict, sent = TROUBLES[name]
    client = connect("http://wechat.invalid", transport=Detour(trouble))
    answer = await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
    assert (answer.verdict, answer.sent) == (verdict, sent)
