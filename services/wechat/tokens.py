"""Access tokens of all apps: one fetch in flight per app, shared by all who wait (wechat-api.md §3)."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from services.runtime.ports import Clock
from services.runtime.settings import Secret
from services.wechat.apps import AppBook
from services.wechat.hosts import Limited
from services.wechat.ports import WeChatMetrics
from services.wechat.sources import ABOUT_THE_APP, HOSTED, SERVICE, STABLE, Sources, Token, no_token

__all__ = ["ABOUT_THE_APP", "Token", "TokenKeeper"]

LOG = structlog.get_logger("livecard.wechat")

FETCH: Final = 8.0
"""Seconds that a fetch may take; those who wait have their own deadlines."""
AGAIN: Final = 10.0
"""Seconds until a token that was refused, and given once more, is asked for anew: fetches are counted."""
EXPIRED: Final = 42001
"""What WeChat says of a token whose time is over; of one that another has replaced it says 40001 or 40014."""
BEHIND: Final = {
    SERVICE: "the company's token service hands out the token that WeChat refuses: somebody else refreshes "
    "this app's token, and the service does not know",
    HOSTED: "the cloud hosting's file holds the token that WeChat refuses",
}


class TokenKeeper:
    """Keeps a token per app. A failed fetch never means that a message was sent."""

    def __init__(self, exchanges: Limited, apps: AppBook, clock: Clock, metrics: WeChatMetrics) -> None:
        self._sources, self._clock = Sources(exchanges, apps, clock), clock
        self._apps, self._metrics = apps, metrics
        self._tokens: dict[str, Token] = {}
        self._origins: dict[str, object] = {}
        self._fetches: dict[str, asyncio.Task[Token]] = {}
        self._refused: dict[str, Token] = {}

    def __repr__(self) -> str:
        return f"TokenKeeper({sorted(self._tokens)})"

    async def get(self, appid: str) -> Token:
        """The token in hand, or one fetched now; a failure is a `Token` with its verdict. One from where the
        apps file no longer says is not in hand."""
        kept = self._tokens.get(appid)
        if kept is not None and self._clock.monotonic() < kept.until and self._origin_stays(appid):
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
                return no_token("the client was closed")  # not this waiter was cancelled but the fetch
            raise

    def _origin_stays(self, appid: str) -> bool:
        origin = self._apps.origin(appid)
        return origin is not None and origin == self._origins.get(appid)

    async def renew(self, appid: str, value: str, errcode: int | None = None) -> Token:
        """WeChat refused this token: drop it, unless another came meanwhile (design.md §6), and get one.

        While WeChat gives out the very token it refuses, each call would cost a fetch of the day's quota.
        """
        kept = self._tokens.get(appid)
        if kept is not None and kept.value == value:
            refused = self._refused.get(appid)
            if refused is not None and refused.value == value and self._clock.monotonic() < refused.until:
                return kept
            del self._tokens[appid]
        else:
            kept = None
        self.refused(appid, value)
        fresh = await self.get(appid)
        if fresh.value and fresh.value == value:
            self._refused[appid] = Token(fresh.value, self._clock.monotonic() + AGAIN)
            if why := BEHIND.get(fresh.source):
                LOG.warning(why, appid=appid, errcode=errcode)
        elif fresh.value and kept is not None and errcode != EXPIRED and fresh.source == kept.source:
            self._replaced(appid, kept, fresh)
        return fresh

    def _replaced(self, appid: str, old: Token, fresh: Token) -> None:
        """Before its time, and there is another one: livecard never forces that. The cloud hosting's file is
        renewed by the platform, which keeps the old token alive."""
        if fresh.source == HOSTED:
            return
        LOG.warning(
            "somebody else refreshes this app's token: WeChat refused ours before its time",
            appid=appid,
            source=fresh.source,
            held_seconds=round(self._clock.monotonic() - old.since),
            hint=_WHO if fresh.source == STABLE else _WHO_ELSE,
        )
        self._metrics.token_replaced(appid)

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
        """Give up fetches under way, and close the connections to token services."""
        fetches = list(self._fetches.values())
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await self._sources.close()

    async def _counted(self, appid: str) -> Token:
        token = await self._fetch(appid)
        self._metrics.token_fetched(token.verdict.value)
        return token

    async def _fetch(self, appid: str) -> Token:
        origin = self._apps.origin(appid)
        try:
            async with asyncio.timeout(FETCH):
                token = await self._sources.fetch(appid)
        except TimeoutError:
            return no_token("no answer in time")
        except Exception as error:  # noqa: BLE001 - the waiters are promised a token or a reason
            LOG.warning("a token could not be asked for", appid=appid, error=type(error).__name__)
            return no_token(type(error).__name__)
        if token.value:
            self._tokens[appid], self._origins[appid] = token, origin
        return token


_WHO: Final = (
    "a program that asks stable_token with force_refresh, or somebody who reset it in WeChat's console: let "
    "it ask in normal mode, which hands everybody the same token"
)
_WHO_ELSE: Final = (
    "a program beside the token service that asks WeChat for tokens by itself: let it ask the service; or "
    "the service, which renewed the token sooner than it told us: let expires_in say how long it stays"
)
