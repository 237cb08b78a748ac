"""Access tokens by `stable_token`: one fetch in flight per app, shared by all who wait (wechat-api.md §3)."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from contracts.wechat import STABLE_TOKEN_PATH, StableTokenRequest, TokenAnswer, Verdict, verdict_of_token
from services.runtime.ports import Clock
from services.runtime.settings import Secret
from services.wechat.apps import AppBook
from services.wechat.ports import WeChatMetrics
from services.wechat.reading import LARGEST_ERRCODE, errmsg_and_rid, read
from services.wechat.transport import Limited

LOG = structlog.get_logger("livecard.wechat")

MARGIN: Final = 60.0
"""Seconds before its end at which a token is fetched anew; the platform renews in the last 5 minutes."""
FETCH: Final = 8.0
"""Seconds that a fetch may take; those who wait have their own deadlines."""
AGAIN: Final = 10.0
"""Seconds until a token that was refused, and given once more, is asked for anew: fetches are counted."""
ABOUT_THE_APP: Final = frozenset(
    {Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked, Verdict.address}
)
"""What a refused fetch can say; never anything about a card. Any other is just no token."""


class Token(msgspec.Struct, frozen=True):
    """A token until `until` (monotonic seconds), or (empty `value`) why there is none."""

    value: Secret = Secret("")
    until: float = 0.0
    verdict: Verdict = Verdict.ok
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""


class TokenKeeper:
    """Keeps a token per app. A failed fetch never means that a message was sent."""

    def __init__(self, exchanges: Limited, apps: AppBook, clock: Clock, metrics: WeChatMetrics) -> None:
        self._exchanges, self._apps, self._clock = exchanges, apps, clock
        self._metrics = metrics
        self._tokens: dict[str, Token] = {}
        self._fetches: dict[str, asyncio.Task[Token]] = {}
        self._refused: dict[str, Token] = {}

    def __repr__(self) -> str:
        return f"TokenKeeper({sorted(self._tokens)})"

    async def get(self, appid: str) -> Token:
        """The token in hand, or one fetched now; a failure is a `Token` with its verdict."""
        kept = self._tokens.get(appid)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept
        task = self._fetches.get(appid)
        if task is None:
            task = self._fetches[appid] = asyncio.create_task(self._counted(appid), name=f"token-{appid}")
            task.add_done_callback(lambda _: self._fetches.pop(appid, None))
        try:
            return await asyncio.shield(task)  # whoever is cancelled leaves the fetch to the others
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and waiter is not None and not waiter.cancelling():
                return _failed("the client was closed")  # not this waiter was cancelled but the fetch
            raise

    async def renew(self, appid: str, value: str) -> Token:
        """WeChat refused this token: drop it, unless another came meanwhile (design.md §6), and get one.

        While WeChat gives out the very token it refuses, each call would cost a fetch of the day's quota.
        """
        kept = self._tokens.get(appid)
        if kept is not None and kept.value == value:
            refused = self._refused.get(appid)
            if refused is not None and refused.value == value and self._clock.monotonic() < refused.until:
                return kept
            del self._tokens[appid]
        self.refused(appid, value)
        fresh = await self.get(appid)
        if fresh.value and fresh.value == value:
            self._refused[appid] = Token(fresh.value, self._clock.monotonic() + AGAIN)
        return fresh

    def refused(self, appid: str, value: str) -> None:
        """WeChat refused this token, and it is not renewed once more for the same call."""
        self._refused[appid] = Token(Secret(value))

    async def has_other(self, appid: str) -> bool:
        """Ask anew whether there is another token than the one that WeChat refused this process last. False
        where it refused none."""
        refused = self._refused.get(appid)
        if refused is None:
            return False
        kept = self._tokens.get(appid)
        if kept is not None and kept.value == refused.value:
            del self._tokens[appid]
        fresh = await self.get(appid)
        return bool(fresh.value) and fresh.value != refused.value

    async def close(self) -> None:
        """Give up fetches under way."""
        fetches = list(self._fetches.values())
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _counted(self, appid: str) -> Token:
        token = await self._fetch(appid)
        self._metrics.token_fetched(token.verdict.value)
        return token

    async def _fetch(self, appid: str) -> Token:
        secret = self._apps.secret(appid)
        if secret is None:
            return Token(verdict=Verdict.misconfigured, errmsg="no secret is configured for this app")
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(FETCH):
                token = await self._ask(appid, secret, began)
        except TimeoutError:
            return _failed("no answer in time")
        except Exception as error:  # noqa: BLE001 - the waiters are promised a token or a reason
            LOG.warning("a token could not be asked for", appid=appid, error=type(error).__name__)
            return _failed(type(error).__name__)
        if token.value:
            self._tokens[appid] = token
        return token

    async def _ask(self, appid: str, secret: Secret, began: float) -> Token:
        body = msgspec.json.encode(StableTokenRequest(appid=appid, secret=str(secret)))
        got = await self._exchanges.exchange("POST", STABLE_TOKEN_PATH, {}, body)
        answer = read(_ANSWER, got)
        if answer is None:
            return _failed(got.why or "an unreadable answer")
        if answer.errcode != 0:
            verdict = verdict_of_token(answer.errcode)
            errmsg, rid = errmsg_and_rid(answer.errmsg, secret)
            return Token(
                verdict=verdict if verdict in ABOUT_THE_APP else Verdict.no_token,
                errcode=answer.errcode if abs(answer.errcode) <= LARGEST_ERRCODE else None,
                errmsg=f"no token: {errmsg}",
                rid=rid,
            )
        if not answer.access_token or answer.expires_in <= 0:
            return _failed("an answer without one")
        lives = max(answer.expires_in - MARGIN, answer.expires_in / 2)
        return Token(Secret(answer.access_token), began + lives)


_ANSWER: Final = msgspec.json.Decoder(TokenAnswer, strict=False)


def _failed(why: str) -> Token:
    """No token this time. The message was not sent, so whatever became of the fetch, it is safe to retry."""
    return Token(verdict=Verdict.no_token, errmsg=f"no token: {why}")
