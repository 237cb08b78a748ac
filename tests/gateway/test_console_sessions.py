"""Signing in to the console: for whom the cookie is, who knows it, and how long."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode

import msgspec
import pytest

from contracts.times import SECOND
from services.gateway.console.sessions import COOKIE, LIFE, Cookie, Sessions
from services.gateway.keys import ApiKeys, Caller, KeyEntry, hash_of
from services.gateway.session_keys import SessionKeys
from tests.gateway.console import Reader, Shift, token
from tests.gateway.world import ALL_KEY, World


async def test_signing_in_leads_back_and_out_again(world: World) -> None:
    """The cookie is for no script and no other site, and says how long it lives."""
    reader = Reader(world)
    answer = await reader.sign_in(f" {ALL_KEY} ", "/console/cards?app=wx1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/cards?app=wx1")
    (cookie,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)]
    for part in ("HttpOnly", "SameSite=strict", "Path=/console", f"Max-Age={LIFE}"):
        assert part.lower() in cookie.lower()
    assert "Secure" not in cookie
    assert "Every card shows what it should." in await reader.page("/console")
    out = await reader.send("/console/sign-out")
    assert (out.status_code, out.headers["location"]) == (303, "/console/sign-in")
    assert (await reader.get("/console")).status_code == 303


async def test_over_tls_the_cookie_is_for_tls_alone(world: World) -> None:
    reader = Reader(world, **{"x-forwarded-proto": "https"})
    page = await reader.get("/console/sign-in")
    sent = {"token": token(page), "key": ALL_KEY}
    cookie = page.headers["set-cookie"].partition(";")[0]
    answer = await reader.client.post("/console/sign-in", data=sent, headers={"cookie": cookie})
    assert all("Secure" in each for each in answer.headers.get_list("set-cookie"))


async def test_a_wrong_key_is_told_so(world: World) -> None:
    answer = await Reader(world).sign_in("lck_wrong")
    assert answer.status_code == 401
    assert "This gateway has no such key." in answer.text
    assert COOKIE not in answer.cookies


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "https://evil.example", "/v1/gates", "/consolexyz", "/console\\x", "/console/\nx"],
)
async def test_signing_in_leads_nowhere_else(world: World, to: str) -> None:
    reader = Reader(world)
    page = await reader.get("/console/sign-in", params={"to": to})
    sent = {"token": token(page), "key": ALL_KEY}
    answer = await reader.client.post("/console/sign-in", params={"to": to}, data=sent)
    assert answer.headers["location"] == "/console"


def caller_of(keys: ApiKeys) -> Caller:
    found = keys.find(ALL_KEY)
    assert found is not None
    return found


def test_any_gateway_with_the_same_key_file_knows_the_cookie() -> None:
    """For a shift, while the API key is there; without the file each gateway knows its own alone."""
    clock = Shift()
    keys = ApiKeys({hash_of(ALL_KEY): KeyEntry("all", ("read",), ("wx1",))})
    shared = SessionKeys([bytes(range(32))], random.Random(1))
    one = Sessions(shared, keys, clock, random.Random(2))
    other = Sessions(SessionKeys([bytes(range(32))], random.Random(3)), keys, clock, random.Random(4))
    alone = Sessions(None, keys, clock, random.Random(5))
    cookie = one.begin(caller_of(keys))
    session = other.find(cookie)
    assert session is not None
    assert session.caller.name == "all"
    assert alone.find(cookie) is None
    assert other.find(alone.begin(caller_of(keys))) is None
    assert hash_of(ALL_KEY) not in cookie
    assert Sessions(shared, ApiKeys({}), clock, random.Random(6)).find(cookie) is None
    clock.at += LIFE * SECOND
    assert other.find(cookie) is None


def test_what_was_sealed_for_something_else_opens_no_console() -> None:
    """And neither does a cookie that was changed, cut or made up."""
    keys = ApiKeys({hash_of(ALL_KEY): KeyEntry("all", ("read",), ("wx1",))})
    shared = SessionKeys([bytes(range(32))], random.Random(1))
    sessions = Sessions(shared, keys, Shift(), random.Random(2))
    cookie = sessions.begin(caller_of(keys))
    assert sessions.find(cookie) is not None
    plain = msgspec.json.encode(Cookie(hash_of(ALL_KEY), 1 << 60, "token"))
    for about, opens in ((b"console cookie", True), (b"", False), (hash_of("session").encode(), False)):
        sealed = urlsafe_b64encode(shared.seal(plain, about).encode()).decode()
        assert (sessions.find(sealed) is not None) == opens
    for wrong in (
        "",
        "x",
        cookie[:-4],
        cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        "é",
        "=" * 9,
        "A" * 9999,
    ):
        assert sessions.find(wrong) is None, wrong
