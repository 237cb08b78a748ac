"""WeChat's bodies, paths and error codes (wechat-api.md §2, §3, §4)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, Literal

import msgspec

Template = Literal["complete", "participate"]
Version = Literal["release", "develop", "trial"]

TEMPLATE_IDS: Final[dict[Template, str]] = {
    "complete": "4A68CBB88A92B0A9311848DBA1E94A199B166463",
    "participate": "2A84254B945674A2F88CE4970782C402795EB607",
}
VERSION_TYPES: Final[dict[Version, int]] = {"release": 0, "develop": 1, "trial": 2}

STABLE_TOKEN_PATH: Final = "/cgi-bin/stable_token"  # noqa: S105 (a path, not a secret)
CREATE_ACTIVITY_ID_PATH: Final = "/cgi-bin/message/wxopen/activityid/create"
SET_CHAT_TOOL_MSG_PATH: Final = "/cgi-bin/message/wxopen/chattoolmsg/send"
CODE2SESSION_PATH: Final = "/sns/jscode2session"
QUOTA_GET_PATH: Final = "/cgi-bin/openapi/quota/get"
RID_GET_PATH: Final = "/cgi-bin/openapi/rid/get"
CLEAR_QUOTA_PATH: Final = "/cgi-bin/clear_quota/v2"

TARGET_OPEN: Final = 1
TARGET_NEARING: Final = 2
TARGET_ENDED: Final = 3
PARTICIPANT_DONE: Final = 1


class Verdict(StrEnum):
    """What an answer means for the call that got it (wechat-api.md §4).

    `address` (this caller's address is not on the app's list) and `no_token` (none could be fetched, so
    nothing was sent) are about this process only.
    """

    ok = "ok"
    busy = "busy"
    unknown = "unknown"
    token = "token"  # noqa: S105 (a verdict's name)
    minute_limit = "minute_limit"
    daily_limit = "daily_limit"
    misconfigured = "misconfigured"
    blocked = "blocked"
    address = "address"
    no_token = "no_token"  # noqa: S105 (a verdict's name)
    expired = "expired"
    unknown_activity = "unknown_activity"
    rejected = "rejected"
    unknown_code = "unknown_code"


OK: Final = 0
BUSY: Final = -1
INVALID_CREDENTIAL: Final = 40001
BAD_JS_CODE: Final = 40029
USED_JS_CODE: Final = 40163
BLOCKED_USER: Final = 40226
DAILY_LIMIT: Final = 45009
MINUTE_LIMIT: Final = 45011
UNKNOWN_ACTIVITY: Final = 47501
ILLEGAL_STATE: Final = 47502
ACTIVITY_EXPIRED: Final = 47504
CLEAR_QUOTA_USED_UP: Final = 48006

_CODES: Final[dict[Verdict, tuple[int, ...]]] = {
    Verdict.ok: (OK,),
    Verdict.busy: (BUSY,),
    Verdict.token: (INVALID_CREDENTIAL, 40014, 42001),
    Verdict.minute_limit: (MINUTE_LIMIT,),
    Verdict.daily_limit: (DAILY_LIMIT,),
    Verdict.misconfigured: (40002, 40013, 40125, 40243, 41002, 41004, 45035, 89503, 89506, 89507),
    Verdict.address: (40164, 61004),
    Verdict.blocked: (48001, 48004, 50002, 50004, 50007, 61007, 61016),
    Verdict.expired: (ACTIVITY_EXPIRED,),
    Verdict.unknown_activity: (UNKNOWN_ACTIVITY,),
    Verdict.rejected: (40097, 47001, 44002, 43002, ILLEGAL_STATE, 47503, 41001),
}  # fmt: skip

VERDICTS: Final[dict[int, Verdict]] = {code: verdict for verdict, codes in _CODES.items() for code in codes}
"""The one table of WeChat's codes; every other code is `Verdict.unknown_code`."""


def verdict_of(errcode: int) -> Verdict:
    """The verdict of an API call's `errcode` (wechat-api.md §4)."""
    return VERDICTS.get(errcode, Verdict.unknown_code)


def verdict_of_token(errcode: int) -> Verdict:
    """The verdict of a token fetch's `errcode`: there 40001 means a wrong secret (wechat-api.md §3)."""
    return Verdict.misconfigured if errcode == INVALID_CREDENTIAL else verdict_of(errcode)


def verdict_of_answer(http_status: int, errcode: int | None) -> Verdict:
    """The verdict of an HTTP answer; `errcode` is None when the body was unreadable (wechat-api.md §4).

    Only 429 and a readable `errcode` are known, success with HTTP 200 only, and a redirect says
    nothing; the rest may have been applied (design.md §6).
    """
    if http_status == 429:
        return Verdict.busy
    if http_status >= 500 or http_status < 200 or 300 <= http_status < 400 or errcode is None:
        return Verdict.unknown
    if errcode == OK and http_status != 200:
        return Verdict.unknown
    return verdict_of(errcode)


_RID = re.compile(r"\brid:\s*([0-9A-Za-z_-]+)")


def rid_of(errmsg: str) -> str | None:
    """The request id WeChat's support asks for, out of an `errmsg` such as `… rid: 6501-0a1b-2c3d`."""
    found = _RID.search(errmsg)
    return found.group(1) if found else None


_MILLISECONDS_FROM = 100_000_000_000  # as seconds this is the year 5138


def expiration_us(expiration_time: int) -> int:
    """createActivityId's `expiration_time`, in seconds or milliseconds, as µs since the epoch."""
    return expiration_time * (1_000 if expiration_time >= _MILLISECONDS_FROM else 1_000_000)


class _Secretive(msgspec.Struct, frozen=True):
    """Its repr names no values: tokens, secrets and session keys never reach a log or an exception."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer may carry; absent `errcode` means success for the calls that return data."""

    errcode: int = 0
    errmsg: str = ""


class StableTokenRequest(_Secretive, frozen=True, kw_only=True):
    appid: str
    secret: str
    grant_type: Literal["client_credential"] = "client_credential"
    force_refresh: bool = False


class TokenAnswer(_Secretive, frozen=True, kw_only=True):
    """`access_token` is empty when `errcode` is not 0; `expires_in` is in seconds."""

    access_token: str = ""
    expires_in: int = 0
    errcode: int = 0
    errmsg: str = ""


class CreateActivityIdAnswer(Status, frozen=True, kw_only=True):
    """`activity_id` is empty when `errcode` is not 0; see `expiration_us` for `expiration_time`."""

    activity_id: str = ""
    expiration_time: int = 0


class ParticipatorInfo(msgspec.Struct, frozen=True):
    group_openid: str
    state: int = PARTICIPANT_DONE


class SetChatToolMsg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`participator_info_list` None is left out; an empty list is sent as one (wechat-api.md §2)."""

    activity_id: str
    target_state: int
    template_id: str
    version_type: int
    participator_info_list: tuple[ParticipatorInfo, ...] | None = None


class SendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """setChatToolMsg's answer: `errcode` is required, so that an odd body never counts as success."""

    errcode: int
    errmsg: str = ""


class SessionAnswer(_Secretive, frozen=True, kw_only=True):
    """code2Session's answer; `session_key` never leaves the server (wechat-api.md §5)."""

    openid: str = ""
    session_key: str = ""
    unionid: str | None = None
    errcode: int = 0
    errmsg: str = ""


class QuotaRequest(msgspec.Struct, frozen=True):
    cgi_path: str


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    daily_limit: int = 0
    used: int = 0
    remain: int = 0


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    call_count: int = 0
    refresh_second: int = 0


class QuotaAnswer(Status, frozen=True, kw_only=True):
    quota: Quota | None = None
    rate_limit: RateLimit | None = None


class RidRequest(msgspec.Struct, frozen=True):
    rid: str


class RidDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A request as WeChat has kept it; it may quote tokens and secrets."""

    invoke_time: int = 0
    cost_in_ms: int = 0
    request_url: str = ""
    request_body: str = ""
    response_body: str = ""
    client_ip: str = ""

    def __repr__(self) -> str:
        return "RidDetails(…)"


class RidAnswer(Status, frozen=True, kw_only=True):
    request: RidDetails | None = None


class ClearQuotaRequest(_Secretive, frozen=True, kw_only=True):
    appid: str
    appsecret: str
