"""Access tokens by `stable_token`: one fetch in flight per app, shared by all who wait (wechat-api.md §3)."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from contracts.wechat import (
    STABLE_TOKEN_PATH,
    StableTokenRequest,
    TokenAnswer,
    Verdict,
    rid_of,
    verdict_of_token,
)
from services.ports import Clock
from services.settings import Secret
from services.wechat.apps import AppBook
from services.wechat.transport import Connections

MARGIN: Final = 60.0
"""Seconds before its end at which a token is fetched anew; the platform renews in the last 5 minutes."""
FETCH: Final = 8.0
"""Seconds that a fetch may take; those who wait have their own deadlines."""


class Token(msgspec.Struct, frozen=True):
    """A token until `until` (monotonic seconds), or why there is none."""

    value: Secret = Secret("")
    until: float = 0.0
    verdict: Verdict = Verdict.ok
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""


class TokenKeeper:
    """Keeps a token per app. A failed fetch never means that a message was sent."""

    def __init__(self, connections: Connections, apps: AppBook, clock: Clock) -> None:
        self._connections, self._apps, self._clock = connections, apps, clock
        self._tokens: dict[str, Token] = {}
        self._fetches: dict[str, asyncio.Task[Token]] = {}

    def __repr__(self) -> str:
        return f"TokenKeeper({sorted(self._tokens)})"

    async def get(self, appid: str) -> Token:
        """The token in hand, or one fetched now; a failure is a `Token` with its verdict."""
        kept = self._tokens.get(appid)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept
        task = self._fetches.get(appid)
        if task is None:
            task = self._fetches[appid] = asyncio.create_task(self._fetch(appid), name=f"token-{appid}")
            task.add_done_callback(lambda _: self._fetches.pop(appid, None))
        return await asyncio.shield(task)  # whoever is cancelled leaves the fetch to the others

    def drop(self, appid: str, value: str) -> None:
        """WeChat refused this token; another that came meanwhile stays (design.md §6)."""
        kept = self._tokens.get(appid)
        if kept is not None and kept.value == value:
            del self._tokens[appid]

    async def close(self) -> None:
        """Give up fetches under way."""
        for task in list(self._fetches.values()):
            task.cancel()
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)

    async def _fetch(self, appid: str) -> Token:
        secret = self._apps.secret(appid)
        if secret is None:
            return Token(verdict=Verdict.misconfigured, errmsg="no secret is configured for this app")
        body = msgspec.json.encode(StableTokenRequest(appid=appid, secret=str(secret)))
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(FETCH):
                got = await self._connections.exchange("POST", STABLE_TOKEN_PATH, {}, body)
        except TimeoutError:
            return Token(verdict=Verdict.busy, errmsg="no token: no answer in time")
        if got.status != 200:
            return Token(verdict=Verdict.busy, errmsg=f"no token: {got.why or f'HTTP {got.status}'}")
        try:
            answer = _ANSWER.decode(got.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Token(verdict=Verdict.busy, errmsg="no token: an unreadable answer")
        if answer.errcode != 0:
            verdict = verdict_of_token(answer.errcode)
            return Token(
                verdict=_of_a_fetch(verdict),
                errcode=answer.errcode,
                errmsg=answer.errmsg,
                rid=rid_of(answer.errmsg) or "",
            )
        if not answer.access_token or answer.expires_in <= 0:
            return Token(verdict=Verdict.busy, errmsg="no token: an answer without one")
        lives = max(answer.expires_in - MARGIN, answer.expires_in / 2)
        token = Token(Secret(answer.access_token), began + lives)
        self._tokens[appid] = token
        return token


_ANSWER = msgspec.json.Decoder(TokenAnswer)
_ABOUT_THE_APP: Final = frozenset(
    {Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked}
)


def _of_a_fetch(verdict: Verdict) -> Verdict:
    """A refused fetch says something about the app, or it is to be tried again; never about a card."""
    return verdict if verdict in _ABOUT_THE_APP else Verdict.busy
