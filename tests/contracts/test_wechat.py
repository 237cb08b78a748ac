"""WeChat's codes one by one (wechat-api.md §4), its bodies, and no secret in a repr."""

from __future__ import annotations

import msgspec
import pytest

from contracts import wechat
from contracts.wechat import (
    ClearQuotaRequest,
    CreateActivityIdAnswer,
    ParticipatorInfo,
    QuotaAnswer,
    SendAnswer,
    SessionAnswer,
    SetChatToolMsg,
    StableTokenRequest,
    Status,
    TokenAnswer,
    Verdict,
    expiration_us,
    rid_of,
    verdict_of,
    verdict_of_answer,
    verdict_of_token,
)

CODES = {
    0: "ok",
    -1: "busy",
    40001: "token",
    40014: "token",
    42001: "token",
    45011: "minute_limit",
    45009: "daily_limit",
    40002: "misconfigured",
    40013: "misconfigured",
    40125: "misconfigured",
    40243: "misconfigured",
    41002: "misconfigured",
    41004: "misconfigured",
    40164: "address",
    61004: "address",
    45035: "misconfigured",
    89503: "misconfigured",
    89506: "misconfigured",
    89507: "misconfigured",
    48001: "blocked",
    48004: "blocked",
    50002: "blocked",
    50004: "blocked",
    50007: "blocked",
    61007: "blocked",
    61016: "blocked",
    47504: "expired",
    47501: "unknown_activity",
    40097: "rejected",
    47001: "rejected",
    44002: "rejected",
    43002: "rejected",
    47502: "rejected",
    47503: "rejected",
    41001: "rejected",
}


@pytest.mark.parametrize(("code", "verdict"), CODES.items())
def test_every_documented_code_has_its_verdict(code, verdict):
    assert verdict_of(code) == Verdict(verdict)


@pytest.mark.parametrize("code", [1, -2, 45010, 47500, 47505, 99999, 10**30])
def test_any_other_code_is_unknown(code):
    assert verdict_of(code) is Verdict.unknown_code


def test_the_table_holds_nothing_else():
    assert set(wechat.VERDICTS) == set(CODES)


@pytest.mark.parametrize(
    ("status", "errcode", "verdict"),
    [
        (200, 0, Verdict.ok),
        (200, 47501, Verdict.unknown_activity),
        (200, None, Verdict.unknown),
        (404, None, Verdict.unknown),
        (412, 40001, Verdict.token),
        (201, 0, Verdict.unknown),
        (204, None, Verdict.unknown),
        (302, 0, Verdict.unknown),
        (307, 40001, Verdict.unknown),
        (403, 0, Verdict.unknown),
        (100, 0, Verdict.unknown),
        (429, None, Verdict.busy),
        (429, 0, Verdict.busy),
        (500, 0, Verdict.unknown),
        (502, None, Verdict.unknown),
        (503, -1, Verdict.unknown),
    ],
)
def test_only_429_and_a_readable_code_are_known(status, errcode, verdict):
    assert verdict_of_answer(status, errcode) is verdict


def test_a_wrong_secret_is_told_from_an_old_token():
    assert verdict_of_token(40001) is Verdict.misconfigured
    assert verdict_of_token(45009) is Verdict.daily_limit
    assert verdict_of_token(0) is Verdict.ok


@pytest.mark.parametrize(
    ("errmsg", "rid"),
    [
        ("invalid credential rid: 6501-0a1b-2c3d", "6501-0a1b-2c3d"),
        ("hint rid:abc", "abc"),
        ("ok", None),
        ("", None),
        ("rid: ", None),
        ("grid: 12", None),
    ],
)
def test_the_request_id_is_found_in_an_errmsg(errmsg, rid):
    assert rid_of(errmsg) == rid


def test_expiration_is_accepted_in_seconds_and_in_milliseconds():
    assert expiration_us(1_795_248_000) == expiration_us(1_795_248_000_000) == 1_795_248_000_000_000


def test_a_call_without_a_list_leaves_it_out_and_an_empty_list_is_sent():
    call = SetChatToolMsg(activity_id="a", target_state=3, template_id="t", version_type=0)
    assert msgspec.json.decode(msgspec.json.encode(call)) == {
        "activity_id": "a",
        "target_state": 3,
        "template_id": "t",
        "version_type": 0,
    }
    empty = msgspec.structs.replace(call, participator_info_list=())
    assert msgspec.json.decode(msgspec.json.encode(empty))["participator_info_list"] == []
    one = msgspec.structs.replace(call, participator_info_list=(ParticipatorInfo("gp-1"),))
    assert msgspec.json.decode(msgspec.json.encode(one))["participator_info_list"] == [
        {"group_openid": "gp-1", "state": 1}
    ]
    assert msgspec.json.decode(msgspec.json.encode(one), type=SetChatToolMsg) == one


def test_a_token_request_says_what_the_platform_asks_for():
    assert msgspec.json.decode(msgspec.json.encode(StableTokenRequest(appid="wx1", secret="s"))) == {
        "grant_type": "client_credential",
        "appid": "wx1",
        "secret": "s",
        "force_refresh": False,
    }


def test_an_answer_that_returns_data_needs_no_errcode_and_a_send_does():
    token = msgspec.json.decode(b'{"access_token": "t", "expires_in": 7200}', type=TokenAnswer)
    assert (token.access_token, token.expires_in, token.errcode) == ("t", 7200, 0)
    made = msgspec.json.decode(b'{"activity_id": "a", "expiration_time": 5}', type=CreateActivityIdAnswer)
    assert (made.activity_id, made.expiration_time, made.errcode) == ("a", 5, 0)
    quota = msgspec.json.decode(
        b'{"errcode":0,"errmsg":"ok","quota":{"daily_limit":9,"used":4,"remain":5},'
        b'"rate_limit":{"call_count":3,"refresh_second":60}}',
        type=QuotaAnswer,
    )
    assert quota.quota is not None
    assert quota.quota.remain == 5
    assert quota.rate_limit is not None
    assert quota.rate_limit.refresh_second == 60
    assert msgspec.json.decode(b"{}", type=Status) == Status()
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=SendAnswer)


@pytest.mark.parametrize(
    "body",
    [
        StableTokenRequest(appid="wx1", secret="s3cret"),
        TokenAnswer(access_token="s3cret"),
        SessionAnswer(session_key="s3cret"),
        ClearQuotaRequest(appid="wx1", appsecret="s3cret"),
    ],
)
def test_no_repr_shows_a_secret(body):
    assert "s3cret" not in f"{body} {body!r} {[body]!r}"


def test_every_template_and_version_has_wechats_value():
    assert wechat.TEMPLATE_IDS == {
        "complete": "4A68CBB88A92B0A9311848DBA1E94A199B166463",
        "participate": "2A84254B945674A2F88CE4970782C402795EB607",
    }
    assert wechat.VERSION_TYPES == {"release": 0, "develop": 1, "trial": 2}
