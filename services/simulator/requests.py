"""One request as it came in, and WeChat's ways of answering it (wechat-api.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from services.runtime.ports import Chance

Body = TypeVar("Body", bound=msgspec.Struct)

ERRMSGS: Final[dict[int, str]] = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40066: "invalid url",
    40097: "invalid args",
    40125: "invalid appsecret",
    40163: "code been used",
    40164: "invalid ip",
    40226: "code blocked",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    42001: "access_token expired",
    43001: "require GET method",
    43002: "require POST method",
    44002: "empty post data",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    47001: "data format error",
    47501: "activity_id is invalid",
    47502: "target_state is invalid",
    47503: "version_type is invalid",
    47504: "activity_id is expired",
    48001: "api unauthorized",
    48006: "forbid to clear quota because of reaching the limit",
    50002: "user limited",
    76001: "rid not found",
    76002: "rid is error",
    76003: "could not query this rid",
    76021: "cgi_path not found, please check",
    76022: "could not use this cgi_path, no permission",
}


class Request(msgspec.Struct):
    """The parts of a request that WeChat reads. `query` is decoded, `body` raw, `address` the caller's."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    address: str = "127.0.0.1"


class RefusedError(Exception):
    """The request changes nothing and is answered with `errcode` (`detail` goes into `errmsg`)."""

    def __init__(self, errcode: int, detail: str = "") -> None:
        super().__init__(errcode, detail)
        self.errcode = errcode
        self.detail = detail


def encode(answer: Any) -> bytes:
    """An answer's JSON."""
    return _ENCODER.encode(answer)


def refusal_body(rid: str, errcode: int, errmsg: str = "") -> bytes:
    """`errcode` with its text and the `rid`, as support asks for it."""
    text = errmsg or ERRMSGS.get(errcode, "unspecified error")
    return encode({"errcode": errcode, "errmsg": f"{text} rid: {rid}"})


def new_rid(chance: Chance, now: int) -> str:
    """An id of one refused request; `now` in µs."""
    bits = chance.getrandbits(64)
    return f"{now // 1_000_000:08x}-{bits >> 32:08x}-{bits & 0xFFFFFFFF:08x}"


def require_method(request: Request, method: str) -> None:
    """Raises `RefusedError` 43001 or 43002 for another method."""
    if request.method != method:
        raise RefusedError(43001 if method == "GET" else 43002)


def read_body(request: Request, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The JSON body of a POST.

    Raises `RefusedError`: 43002 for another method, 44002 for an empty body, 47001 for one that is no JSON
    or has wrong types.
    """
    require_method(request, "POST")
    if not request.body:
        raise RefusedError(44002)
    try:
        return decoder.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(47001) from None


_ENCODER = msgspec.json.Encoder()
