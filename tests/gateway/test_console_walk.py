"""Every page and form of the console: who is let in, and that nobody learns or touches another's."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from litestar import get, post
from prometheus_client import generate_latest

from services.gateway.console.sessions import COOKIE, SIGN_IN_COOKIE
from services.gateway.front import routes_of
from services.runtime.logs import configure
from services.runtime.settings import Settings
from services.store.rows import Writes
from statemachine.gate import Gate
from tests.gateway.console import Reader, token
from tests.gateway.world import ALL_KEY, OTHER_KEY, SCOPE_KEYS, World

CANARIES = ("canary-title", "canary-member", "canary-publisher", "wx1")
READ_ALONE, OPERATE_ALONE = SCOPE_KEYS["read"], SCOPE_KEYS["operate"]


def pages(world: World) -> list[tuple[str, str, Any]]:
    """Method, path with its places, and handler, of every route of the console."""
    return [
        (*name.split(" ", 1), handler) for name, handler in routes_of(world.app) if handler.opt.get("console")
    ]


def inside(world: World) -> list[tuple[str, str, Any]]:
    """Those that need somebody signed in."""
    return [each for each in pages(world) if not each[2].opt.get("open")]


def path_of(template: str, activity: str = "a-1", app: str = "wx1") -> str:
    return template.format(activity_id=activity, appid=app, name="console.css")


async def test_nobody_sees_a_page_without_signing_in(world: World) -> None:
    """They are sent to the form, and back from there; a page that refreshes itself goes as a whole."""
    await world.scene.open("a-1")
    assert len(inside(world)) == 8
    for method, template, _ in inside(world):
        path = path_of(template)
        for client in (
            world.client(None),
            world.client(ALL_KEY),
            world.client(None, cookie=f"{COOKIE}=made-up; {SIGN_IN_COOKIE}=x"),
            world.client(None, cookie=f"{COOKIE}=%C3%A9%00;"),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == 303, (path, answer.text)
            assert answer.headers["location"].startswith("/console/sign-in")
            polled = await client.request(method, path, headers={"hx-request": "true"})
            assert polled.headers["hx-redirect"].startswith("/console/sign-in")
            assert "a-1" not in polled.text


async def test_every_route_asks_for_its_scope(world: World) -> None:
    """A key that only reads sends no form; one that does not read does not come in at all."""
    await world.scene.open("a-1")
    reader = await Reader(world).signed_in(READ_ALONE)
    for method, template, handler in inside(world):
        scope = handler.opt["scope"]
        assert scope == ("operate" if method == "POST" else "read")
        if method == "POST":
            answer = await reader.send(path_of(template))
            assert answer.status_code == 403, template
            assert "has not the scope" in answer.text
            assert "<!doctype html>" in answer.text
    answer = await Reader(world).sign_in(OPERATE_ALONE)
    assert answer.status_code == 403
    assert COOKIE not in answer.cookies


async def test_a_route_that_says_nothing_is_closed(world: World) -> None:
    """Whoever forgets its scope is told by the tests, and no reader finds it open."""

    @get("/console/forgotten", opt={"console": True})
    async def forgotten() -> None: ...

    @post("/console/forgotten-form", opt={"console": True, "scope": "operate"})
    async def forgotten_form() -> str:
        return "done"

    world.app.register(forgotten)
    world.app.register(forgotten_form)
    reader = await Reader(world).signed_in()
    assert (await reader.get("/console/forgotten")).status_code == 403
    assert (await reader.client.post("/console/forgotten-form")).status_code == 403
    assert (await reader.send("/console/forgotten-form")).text == "done"


async def test_no_form_counts_without_the_token_of_its_page(world: World) -> None:
    """Nor with another session's, nor where the browser says that another site sends it."""
    await world.scene.open("a-1")
    await _close(world)
    reader, other = await Reader(world).signed_in(), await Reader(world).signed_in()
    foreign = token(await other.get("/console"))
    own = token(await reader.get("/console"))
    assert own != foreign
    for method, template, _ in pages(world):
        if method != "POST":
            continue
        path = path_of(template)
        for data, headers in (
            ({}, {}),
            ({"token": ""}, {}),
            ({"token": foreign}, {}),
            ({"token": own}, {"sec-fetch-site": "cross-site"}),
            ({"token": own}, {"sec-fetch-site": "same-site"}),
        ):
            answer = await reader.client.post(path, data={"key": ALL_KEY, **data}, headers=headers)
            assert answer.status_code == 403, (path, data)
            assert "load the page again" in answer.text
            assert not answer.cookies
    assert (await world.bench.store.all_gates())[0].reason == "minute_limit"
    assert (await reader.get("/console")).status_code == 200


async def test_a_key_of_one_app_sees_and_touches_nothing_of_anothers(world: World) -> None:
    """It gets what it would get if there were nothing, and nothing is written."""
    await world.scene.open(
        "a-1",
        title="canary-title",
        publisher="canary-publisher",
        choose="listed",
        participants=["canary-member"],
    )
    await world.scene.complete("a-1", "canary-member")
    await _close(world)
    before = await world.scene.outbox(), await world.bench.store.all_gates()
    foreign = await Reader(world).signed_in(OTHER_KEY)
    for method, template, _ in inside(world):
        known, unknown = path_of(template), path_of(template, "a-9", "wx9")
        texts = []
        for path in (known, unknown):
            ask = foreign.send if method == "POST" else foreign.get
            answer = await ask(path)
            text = answer.text.replace("a-1", "a-9").replace("wx1", "wx9")
            texts.append((answer.status_code, re.sub(r"token\" value=\"\w+", "", text)))
        assert texts[0] == texts[1], known
        assert not any(canary in texts[0][1] for canary in CANARIES), known
    refused = await foreign.get("/console/cards?app=wx1")
    assert refused.status_code == 403
    assert (await world.scene.outbox(), await world.bench.store.all_gates()) == before


@pytest.mark.usefixtures("logging_restored")
async def test_neither_key_nor_cookie_is_told_by_anything(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in pages, logs or metrics; and the cookie holds neither the key nor its hash."""

    @get("/console/broken", opt={"console": True, "scope": "read"})
    async def broken() -> None:
        raise RuntimeError("somebody's fault")

    world.app.register(broken)
    configure(Settings(log_level="debug"))
    wrong = "lck_canary-wrong-" + "w" * 40
    reader = await Reader(world).signed_in()
    cookie = reader.client.cookies[COOKIE]
    answers: list[httpx.Response] = [await Reader(world).sign_in(wrong)]
    for method, template, _ in pages(world):
        if "sign-out" not in template:
            answers.append(await reader.client.request(method, path_of(template)))
            answers.append(await reader.client.request(method, path_of(template), params={"key": wrong}))
    answers.append(await reader.get("/console/broken"))
    logged = capsys.readouterr().err
    assert "a request failed unexpectedly" in logged
    metrics = generate_latest(world.gateway.metrics.registry).decode()
    told = [logged, metrics, *(answer.text for answer in answers)]
    assert not any(secret in text for text in told for secret in (ALL_KEY, cookie))
    assert wrong not in logged + metrics
    assert ALL_KEY not in cookie


async def _close(world: World) -> None:
    until = world.bench.now + 50_000_000
    async with world.bench.store.transaction() as tx:
        await tx.write(Writes(gates=[Gate("wx1", until, world.bench.now, "minute_limit", 45009, "canary")]))
