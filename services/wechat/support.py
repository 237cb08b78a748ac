"""A refused call as WeChat's support is told of it. No token and no secret is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from contracts.times import HOUR, SECOND, format_rfc3339
from contracts.wechat import RidDetails

LONGEST: Final = 2_000
"""Characters of a body or an address that are kept."""
_SECRETS: Final = re.compile(
    r"""((?:access_token|secret|session_key|js_code)(?:\\*["'])?\s*(?:[:=]|%3D)\s*(?:\\*["'])?)[^"'&\s,}\\]+""",
    re.IGNORECASE,
)
_SHANGHAI: Final = 8 * HOUR


def cleaned(found: RidDetails, *secrets: str) -> RidDetails:
    """The same, bounded and printable, without anything that is named like a secret, and without these."""
    texts = {
        name: _clean(getattr(found, name), secrets)
        for name in ("request_url", "request_body", "response_body", "client_ip")
    }
    return msgspec.structs.replace(found, **texts)


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = _SECRETS.sub(r"\1***", text)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)[:LONGEST]


def support_text(
    appid: str, path: str, rid: str, *, at: int, errcode: int | None, errmsg: str, found: RidDetails | None
) -> str:
    """Ready to be pasted into a question to WeChat's support, in its language. `at`: µs, when we called."""
    return "\n".join(_lines(appid, path, rid, at=at, errcode=errcode, errmsg=errmsg, found=found))


def _lines(
    appid: str, path: str, rid: str, *, at: int, errcode: int | None, errmsg: str, found: RidDetails | None
) -> Iterator[str]:
    invoked = found.invoke_time * SECOND if found is not None and found.invoke_time else at
    yield f"小程序 AppID：{appid}"
    yield f"rid：{rid}"
    yield f"接口：POST {path}"
    yield f"调用时间（北京时间）：{_beijing(invoked)}"
    yield f"返回：errcode {'无' if errcode is None else errcode}，errmsg {errmsg or '无'}"
    if found is None:
        return
    yield f"耗时：{found.cost_in_ms} ms"
    yield f"调用方 IP：{found.client_ip or '无'}"
    yield f"请求参数：{found.request_url or '无'}"
    yield f"请求内容：{found.request_body or '无'}"
    yield f"返回内容：{found.response_body or '无'}"


def _beijing(us: int) -> str:
    return format_rfc3339((us + _SHANGHAI) // SECOND * SECOND).removesuffix("Z").replace("T", " ")
