"""Refused requests by their `rid`, as rid/get tells them to the app that made them (wechat-api.md §2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from contracts.times import SECOND
from services.simulator.requests import RefusedError, Request

KEPT: Final = 1_000
"""Refusals; WeChat keeps them for seven days."""
LONGEST_BODY: Final = 2_000
"""Characters of a body that are kept."""
_SECRETS: Final = frozenset({"access_token", "cloudbase_access_token", "secret", "appsecret"})


class _Refused(msgspec.Struct, frozen=True):
    appid: str | None
    facts: dict[str, Any]


class Refusals:
    """The latest refusals. Tokens and secrets are not kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Refused] = OrderedDict()

    def keep(self, now: int, rid: str, appid: str | None, request: Request, answer: bytes) -> None:
        """Remember one; `now` in µs."""
        query = {name: "***" if name in _SECRETS else value for name, value in request.query.items()}
        body = "" if b"secret" in request.body else request.body.decode("utf-8", "replace")
        facts = {
            "invoke_time": now // SECOND,
            "cost_in_ms": 0,
            "request_url": urlencode(query, safe="*"),
            "request_body": body[:LONGEST_BODY],
            "response_body": answer.decode(),
            "client_ip": request.address,
        }
        self._kept[rid] = _Refused(appid, facts)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def tell(self, appid: str, rid: str) -> dict[str, Any]:
        """What happened. Raises `RefusedError` 76002 (no rid), 76001 (unknown), 76003 (another app's)."""
        if not rid:
            raise RefusedError(76002)
        refused = self._kept.get(rid)
        if refused is None:
            raise RefusedError(76001)
        if refused.appid != appid:
            raise RefusedError(76003)
        return refused.facts
