"""A refused call by its rid: what WeChat tells of it, without secrets, and the text for its support."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.wechat import RID_GET_PATH, RidDetails, Verdict
from services.wechat.ports import Answer
from services.wechat.support import LONGEST, cleaned, support_text
from tests.wechat.server import APPS, TOKEN, Platform, json

DETAILS: dict[str, Any] = {
    "invoke_time": 1_795_248_000,
    "cost_in_ms": 31,
    "request_url": f"access_token={TOKEN}&x=1",
    "request_body": '{"activity_id":"a","appsecret": "canary","secret":"canary"}',
    "response_body": '{"errcode":48001,"errmsg":"rid: 1-2-3"}',
    "client_ip": "192.0.2.7",
}


async def test_what_wechat_tells_comes_without_secrets(platform: Platform, client) -> None:
    platform.others[RID_GET_PATH] = json(errcode=0, errmsg="ok", request=DETAILS)
    found = await client.request_of("wx1", "1-2-3")
    assert isinstance(found, RidDetails)
    assert (found.invoke_time, found.cost_in_ms, found.client_ip) == (1_795_248_000, 31, "192.0.2.7")
    assert found.request_url == "access_token=***&x=1"
    assert found.request_body == '{"activity_id":"a","appsecret": "***","secret":"***"}'
    assert found.response_body == DETAILS["response_body"]
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("handler", "verdict", "errcode"),
    [
        (json(errcode=76001, errmsg="rid not found"), Verdict.unknown_code, 76001),
        (json(errcode=0), Verdict.unknown, None),
        (json(502), Verdict.unknown, None),
    ],
)
async def test_why_wechat_tells_nothing(platform: Platform, client, handler, verdict, errcode) -> None:
    platform.others[RID_GET_PATH] = handler
    found = await client.request_of("wx1", "1-2-3")
    assert isinstance(found, Answer)
    assert (found.verdict, found.errcode) == (verdict, errcode)


def test_a_secret_without_a_name_and_whatever_is_long_or_unprintable_goes() -> None:
    secret = str(next(iter(APPS.values())))
    found = cleaned(RidDetails(request_body=f"{secret}\n{'x' * 5_000}"), secret)
    assert found.request_body.startswith("***\N{REPLACEMENT CHARACTER}xxx")
    assert len(found.request_body) == LONGEST


@pytest.mark.parametrize(
    "text", ['{"x":"{\\"access_token\\": \\"canary\\"}"}', "Access_Token=canary&x", "a?access_token%3Dcanary"]
)
def test_a_secret_goes_however_its_name_is_written(text: str) -> None:
    """In JSON within JSON, in another case, and where a URL is a parameter."""
    assert "canary" not in cleaned(RidDetails(request_body=text)).request_body


def test_the_text_for_support_is_whole() -> None:
    """In its language; the time is Beijing's, WeChat's own if it told one."""
    known: dict[str, Any] = {"at": 1_795_248_001_500_000, "errcode": 48001, "errmsg": "no permission"}
    text = support_text("wx1", "/cgi-bin/x", "1-2-3", **known, found=None)
    assert text.splitlines() == [
        "小程序 AppID：wx1",
        "rid：1-2-3",
        "接口：POST /cgi-bin/x",
        "调用时间（北京时间）：2026-11-21 16:00:01",
        "返回：errcode 48001，errmsg no permission",
    ]
    whole = support_text("wx1", "/cgi-bin/x", "1-2-3", **known, found=RidDetails(**DETAILS))
    assert "调用时间（北京时间）：2026-11-21 16:00:00" in whole
    assert "调用方 IP：192.0.2.7" in whole
    assert "耗时：31 ms" in whole
