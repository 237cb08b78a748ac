"""Tokens from a company's own service."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from contracts.wechat import Verdict
from services.simulator.app import SimulatorServer
from services.wechat.ports import Created
from services.wechat.sources import UNSAID
from tests.security.authority import Authority
from tests.wechat.company import KEY, Service, book, kept, refreshed, send
from tests.wechat.server import Platform, cut, json, raw


async def test_a_companys_service_gives_tokens_and_no_secret_is_needed(
    service: Service, standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    """With its own credential; the token is kept, and a card changed with it."""
    apps = book(tmp_path, {"token_url": service.url, "token_key": KEY})
    assert (apps.keeps_secret("wx1"), apps.names("wx1"), apps.secrets()) == (False, True, {})
    service.token = refreshed(standin)
    client = connect(standin.url, apps)
    assert [(await send(client)).verdict for _ in range(3)] == [Verdict.ok] * 3
    assert service.asked == [f"Bearer {KEY}"]
    assert isinstance(await client.create_activity_id("wx1"), Created)
    assert (await client.quota_left("wx1") or 0) > 0
    assert (await client.code2session("wx1", "code")).errmsg == "no secret is configured for this app"


async def test_another_credential_counts_at_once_and_is_told_to_the_gate(
    service: Service, standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    """A wrong one is the app's misconfiguration; the file's change renews the app, which opens its gate."""
    key = kept(tmp_path / "key", "wrong\n")
    apps = book(tmp_path, {"token_url": service.url, "token_key_file": str(key)})
    service.token = refreshed(standin)
    client = connect(standin.url, apps)
    answer = await send(client)
    assert (answer.verdict, answer.sent) == (Verdict.misconfigured, False)
    assert (
        answer.errmsg
        == "no token: the token service does not accept our credential (HTTP 401): see token_key"
    )
    assert apps.refresh() == set()
    kept(key, f"{KEY}\n")
    assert apps.refresh() == {"wx1"}
    assert (await send(client)).verdict is Verdict.ok


@pytest.mark.parametrize(
    ("handler", "verdict", "why"),
    [
        (raw(b"", 403), Verdict.misconfigured, "does not accept our credential (HTTP 403)"),
        (raw(b"", 404), Verdict.misconfigured, "knows no such address (HTTP 404)"),
        (raw(b"", 503), Verdict.no_token, "the token service: HTTP 503"),
        (raw(b"", 302, headers={"location": "/x"}), Verdict.no_token, "the token service: HTTP 302"),
        (raw(b"<html>"), Verdict.no_token, "the token service: an unreadable answer"),
        (json(access_token=""), Verdict.no_token, "the token service answers without one"),
        (json(access_token="a b"), Verdict.no_token, "the token service answers without one"),
        (json(access_token="t\n"), Verdict.no_token, "the token service answers without one"),
        (json(access_token="t", expires_in=-1), Verdict.no_token, "the token service answers without one"),
        (
            json(errcode=40125, errmsg=f"invalid appsecret {KEY}"),
            Verdict.misconfigured,
            "invalid appsecret ***",
        ),
        (json(errcode=45009), Verdict.daily_limit, "no token: "),
        (json(errcode=-1), Verdict.no_token, "no token: "),
        (cut, Verdict.no_token, "the token service: ServerDisconnectedError"),
    ],
)
async def test_what_a_service_answers_instead_says_whose_affair_it_is(
    service: Service, platform: Platform, *, connect, tmp_path: Path, handler, verdict: Verdict, why: str
) -> None:
    """Never a reason to doubt a card: nothing was sent."""
    service.answer = handler
    client = connect(platform.url, book(tmp_path, {"token_url": service.url, "token_key": KEY}))
    answer = await send(client)
    assert (answer.verdict, answer.sent, platform.messages) == (verdict, False, [])
    assert why in answer.errmsg
    assert KEY not in answer.errmsg


@pytest.mark.parametrize(
    ("lives", "keeps"),
    [({}, UNSAID), ({"expires_in": 100}, 50), ({"expires_in": "7200"}, 7140), ({"expires_in": 10**9}, 7140)],
)
async def test_a_services_token_is_kept_as_long_as_it_says_and_no_longer_than_tokens_live(
    service: Service,
    platform: Platform,
    *,
    connect,
    clock,
    tmp_path: Path,
    lives: dict[str, Any],
    keeps: float,
) -> None:
    service.answer = json(access_token="t", **lives)
    client = connect(platform.url, book(tmp_path, {"token_url": service.url, "token_key": KEY}))
    for later, fetches in ((0.0, 1), (keeps - 0.1, 1), (0.2, 2)):
        clock.now += later
        assert (await send(client)).verdict is Verdict.ok
        assert len(service.asked) == fetches


async def test_a_services_certificate_is_checked_by_its_own_authority(
    standin: SimulatorServer, connect, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "corporate")
    pair = authority.sign("tokens")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    service = Service()
    await service.start(served)
    service.token = refreshed(standin)
    entry = {"token_url": service.url, "token_key": KEY}
    answer = await send(connect(standin.url, book(tmp_path, entry)))
    assert answer.verdict is Verdict.no_token
    assert "the token service's certificate is not accepted" in answer.errmsg
    assert "(token_ca of wx1 names the authorities that are)" in answer.errmsg
    known = {**entry, "token_ca": str(authority.file)}
    assert (await send(connect(standin.url, book(tmp_path, known)))).verdict is Verdict.ok
    await service.stop()
