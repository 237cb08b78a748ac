"""No token and no secret ever shows: not in a log, an answer, an error or a repr."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from contracts.wechat import QUOTA_GET_PATH, Verdict
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.wechat.server import APPS, MESSAGE, OK, TOKEN, Platform, cut, half, json, raw

CANARIES = (TOKEN, *APPS.values())


class Everything(logging.Handler):
    """Keeps each record as any handler could write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{self.format(record)} {vars(record)!r}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that any logger says, from DEBUG on, structlog's included."""
    root, handler = logging.getLogger(), Everything()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with structlog.testing.capture_logs() as told:
        yield handler.texts
        handler.texts += map(repr, told)
    root.removeHandler(handler)
    root.setLevel(level)


def reprs(thing: Any, seen: set[int], depth: int = 12) -> Iterator[str]:
    """The reprs of an object and of everything it holds, exceptions' causes and tasks included."""
    if id(thing) in seen or not depth or isinstance(thing, type):
        return
    seen.add(id(thing))
    yield repr(thing)
    inner: list[Any] = list(getattr(thing, "__dict__", {}).values())
    inner += [getattr(thing, name, None) for name in getattr(thing, "__struct_fields__", ())]
    if isinstance(thing, dict):
        inner += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner += thing
    for each in inner:
        yield from reprs(each, seen, depth - 1)


def shows(texts: list[str]) -> list[str]:
    return [text[:300] for text in texts if any(canary in text for canary in CANARIES)]


async def test_secrets_and_tokens_never_show(
    platform: Platform, connect: Any, logged: list[str], capfd
) -> None:
    """Every way that a call can go, with a platform that says our secrets back to us."""
    asyncio.get_running_loop().set_debug(True)
    client: WeChatClient = connect(platform.url, in_flight=2)
    answers: list[Any] = []

    async def call(deadline: float = 20.0) -> Any:
        answers.append(await client.set_chat_tool_msg("wx1", MESSAGE, deadline, lambda: True))
        return answers[-1]

    echo = f"{platform.value} {platform.value[:-1]}2 {APPS['wx1']} rid: 1-2-3"
    location = {"Location": f"/?access_token={platform.value}", "Set-Cookie": f"a={platform.value}"}
    for handler in (
        OK,
        json(errcode=40097, errmsg=f"{platform.value} rid: {platform.value}"),
        raw(b"", 302, headers=location),
        raw(echo.encode(), headers=location),
        raw(echo.encode(), 500, headers=location),
        cut,
        half,
    ):
        platform.message = handler
        await call()
    platform.number, platform.message = 2, platform.only_current
    assert (await call()).verdict is Verdict.ok
    platform.message = platform.hang
    await call(deadline=0.2)
    platform.others[QUOTA_GET_PATH] = raw(echo.encode(), 302, headers=location)
    answers.append(await client.quota_left("wx1"))
    platform.message, platform.token = json(errcode=40001), json(errcode=40125, errmsg=APPS["wx1"])
    assert (await call()).errmsg == "no token: ***"
    platform.token = raw(echo.encode(), headers=location)
    await call()
    waiting = asyncio.create_task(client.quota_left("wx2"))
    texts = list(reprs([client, waiting, *asyncio.all_tasks(), answers], set()))
    await waiting
    platform.token = platform.current_token
    platform.message = OK
    await call()
    texts += reprs([client, AppBook(dict(APPS)), answers], set())
    await platform.stop()
    await call()
    await call()
    assert shows([*texts, *logged, *capfd.readouterr()]) == []
    assert any("TokenKeeper(['wx1'" in text for text in texts)
    assert shows([bytes(msgspec.json.encode(answers)).decode()]) == []


@pytest.mark.usefixtures("platform")
async def test_an_error_of_the_library_never_leaves(connect: Any, logged: list[str], tmp_path: Path) -> None:
    """Not even for an address that is none."""
    for base in (f"http://127.0.0.1:99999/{TOKEN}", "http://[::1", "ftp://127.0.0.1"):
        client = connect(base)
        answer = await client.set_chat_tool_msg("wx1", MESSAGE, 20.0, lambda: True)
        assert (answer.verdict, answer.sent) == (Verdict.no_token, False)
        assert shows([repr(answer), *logged]) == []


def test_the_search_for_secrets_finds_them(logged: list[str]) -> None:
    """The test of the tests."""
    logging.getLogger("aiohttp.client").debug("receive %r", [b"location", TOKEN.encode()])
    assert len(shows(logged)) == 1
    book = AppBook(dict(APPS))
    assert shows(list(reprs(book, set()))) == []
    vars(book)["plain"] = dict(APPS)
    assert shows(list(reprs(book, set())))
